// The kinds of pictures: of a seed, of a mix of two pictures, or between two pictures.
//
// Each has a `key`, a `name`, `facts` for the PNG, the `request` that makes it, and its `w`; the
// last two depend on a `scene`: {path, zDim, psi, labels, cache}.

import { predict } from "./api.js";
import { between, latent } from "./latents.js";

const row = (scene, values) =>
  scene.labels
    ? { ...values, truncation_psi: scene.psi, labels: scene.labels }
    : { ...values, truncation_psi: scene.psi };
const ofW = (w) => ({ signature_name: "synthesize_png", instances: [{ w }] });
const percent = (share) => `${Math.round(100 * share)}%`;

function remembered(scene, key, make) {
  if (!scene.cache.has(key)) {
    const promise = make();
    scene.cache.set(key, promise);
    // A request that failed or was cancelled may be made again.
    const forget = () => scene.cache.delete(key);
    promise.then((answer) => answer === null && forget(), forget);
  }
  return scene.cache.get(key);
}

export function ofSeed(seed) {
  return {
    key: `seed ${seed}`,
    name: `Seed ${seed}`,
    seed,
    facts: { seed },
    request: async (scene) => ({
      signature_name: "generate",
      instances: [row(scene, { seed })],
    }),
    w: (scene) =>
      remembered(scene, `w of seed ${seed}`, () =>
        predict(scene.path, {
          signature_name: "map",
          instances: [row(scene, { z: latent(seed, scene.zDim) })],
        }),
      ),
  };
}

/** Mixes `a` up to the layer `cutoff` with `b` from there on. */
export function ofMix(a, b, cutoff) {
  const name = `${a.name} × ${b.name}, cutoff ${cutoff}`;
  const seeds = a.seed !== undefined && b.seed !== undefined;
  const w = async (scene) => {
    const [first, second] = await Promise.all([a.w(scene), b.w(scene)]);
    return first.map((layer, i) => (i < cutoff ? layer : second[i]));
  };
  return {
    key: `mix (${a.key}) (${b.key}) ${cutoff}`,
    name,
    facts: seeds
      ? { seed_a: a.seed, seed_b: b.seed, cutoff }
      : { recipe: name.replace("×", "x"), cutoff },
    request: async (scene) =>
      seeds
        ? {
            signature_name: "style_mix",
            instances: [row(scene, { seed_a: a.seed, seed_b: b.seed, cutoff })],
          }
        : ofW(await w(scene)),
    w,
  };
}

/** Interpolates between the w of `a` and that of `b`. */
export function ofWay(a, b, share) {
  const name = `${a.name}, ${percent(share)} towards ${b.name.replace(/^S/, "s")}`;
  const w = async (scene) => between(...(await Promise.all([a.w(scene), b.w(scene)])), share);
  const seeds = a.seed !== undefined && b.seed !== undefined;
  return {
    key: `way (${a.key}) (${b.key}) ${share}`,
    name,
    facts: seeds
      ? { seed_a: a.seed, seed_b: b.seed, interpolation: share }
      : { recipe: name.replace("×", "x"), interpolation: share },
    request: async (scene) => ofW(await w(scene)),
    w,
  };
}

/** Returns the cached answer to a picture's request; null if it is not `wanted` any more. */
export async function rendered(scene, picture, wanted) {
  for (;;) {
    const answer = await remembered(scene, picture.key, async () => {
      if (!wanted()) return null;
      return predict(scene.path, await picture.request(scene), wanted);
    });
    // The first caller may have cancelled the request; then this call repeats it.
    if (answer !== null || !wanted()) return answer;
  }
}
