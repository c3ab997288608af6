// z of a seed, as tf_sg2.latent.seeds.latents makes it: TensorFlow's stateless_normal on Philox
// 4x32-10 (Salmon et al. 2011), of the seed and the stream -1. tests/serving/test_page.py holds both
// against each other.

const MULTIPLIERS = [0xd2511f53n, 0xcd9e8d57n];
const WEYL = [0x9e3779b9, 0xbb67ae85];
const MASK = 0xffffffffn;
const SCRAMBLE = [0x3ec8f720, 0x02461e29];
const LATENT_STREAM = -1n;

function philox(counter, key) {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const a = MULTIPLIERS[0] * BigInt(c0);
    const b = MULTIPLIERS[1] * BigInt(c2);
    [c0, c1, c2, c3] = [
      (Number(b >> 32n) ^ c1 ^ k0) >>> 0,
      Number(b & MASK),
      (Number(a >> 32n) ^ c3 ^ k1) >>> 0,
      Number(a & MASK),
    ];
    k0 = (k0 + WEYL[0]) >>> 0;
    k1 = (k1 + WEYL[1]) >>> 0;
  }
  return [c0, c1, c2, c3];
}

const halves = (number) => {
  const bits = BigInt.asUintN(64, number);
  return [Number(bits & MASK), Number(bits >> 32n)];
};

// The 23 low bits as a float32 in [0, 1).
const uniform = (bits) => (bits & 0x7fffff) / 0x800000;

function boxMuller(x0, x1) {
  const radius = Math.sqrt(-2 * Math.log(Math.max(uniform(x0), 1e-7)));
  const angle = 2 * Math.PI * uniform(x1);
  return [Math.sin(angle) * radius, Math.cos(angle) * radius];
}

/** Returns z of a seed: `size` standard normal numbers. */
export function latent(seed, size) {
  const mixed = philox([...halves(BigInt(seed)), ...halves(LATENT_STREAM)], SCRAMBLE);
  const key = [mixed[0], mixed[1]];
  const z = [];
  for (let block = 0; z.length < size; block++) {
    const bits = philox([block, 0, mixed[2], mixed[3]], key);
    z.push(...boxMuller(bits[0], bits[1]), ...boxMuller(bits[2], bits[3]));
  }
  return z.slice(0, size).map(Math.fround);
}

/** Interpolates linearly between two w: 0 is a, 1 is b. */
export function between(a, b, share) {
  return a.map((layer, i) =>
    // Nine digits preserve a float32.
    layer.map((value, j) => Number((value + share * (b[i][j] - value)).toPrecision(9))),
  );
}
