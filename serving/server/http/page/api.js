// The part of TensorFlow Serving's REST protocol that the page needs.

export const MOST_AT_ONCE = 4; // Running requests; the others wait here, where they can be cancelled.
const TOKEN = "tf_sg2.token";

export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
};

async function ask(path, body) {
  const headers = {};
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const method = body === undefined ? "GET" : "POST";
  let response, answer;
  try {
    response = await fetch(path, { method, headers, body });
  } catch {
    throw new Failure(0, "The server cannot be reached. Is it still running?");
  }
  try {
    answer = await response.json();
  } catch {
    throw new Failure(response.status, `The server answered ${response.status} without JSON.`);
  }
  if (!response.ok) {
    const said = answer.error || response.statusText;
    throw new Failure(response.status, `The server answered ${response.status}: ${said}`);
  }
  return answer;
}

/** The models: [{name, versions}]. */
export const models = async () => (await ask("page/models.json")).models;

export const modelPath = (model, version) =>
  `v1/models/${encodeURIComponent(model)}${version ? `/versions/${version}` : ""}`;

/** Reads what the page needs from the signatures of a model. */
export async function describe(path) {
  const answer = await ask(`${path}/metadata`);
  const signatures = answer.metadata.signature_def.signature_def;
  for (const name of ["generate", "style_mix", "map", "synthesize_png"]) {
    if (!signatures[name]) {
      throw new Failure(
        0,
        `This model has no signature ${name}; the page shows models of tf-sg2 export.`,
      );
    }
  }
  const sizes = (tensor) => tensor.tensor_shape.dim.map((dim) => Number(dim.size));
  const { labels } = signatures.generate.inputs;
  const images = signatures.synthesize ? sizes(signatures.synthesize.outputs.images) : [];
  return {
    version: answer.model_spec.version,
    zDim: sizes(signatures.map.inputs.z)[1],
    layers: sizes(signatures.map.outputs.w)[1],
    labelDim: labels ? sizes(labels)[1] : 0,
    ratio: images[1] > 0 && images[2] > 0 ? images[2] / images[1] : 1,
  };
}

let underWay = 0;
const waiting = [];

async function turn() {
  if (underWay >= MOST_AT_ONCE) await new Promise((resolve) => waiting.push(resolve));
  else underWay++;
}

function next() {
  const first = waiting.shift();
  if (first) first();
  else underWay--;
}

/** Returns the prediction of a request of one row; null if it was not `wanted` at its turn. */
export async function predict(path, request, wanted = () => true) {
  await turn();
  try {
    if (!wanted()) return null;
    return (await ask(`${path}:predict`, JSON.stringify(request))).predictions[0];
  } finally {
    next();
  }
}

export const bytesOf = (prediction) =>
  Uint8Array.from(atob(prediction.b64), (char) => char.charCodeAt(0));
