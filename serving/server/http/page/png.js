// Adds text to PNG files: a tEXt chunk (PNG specification, 11.3.3.2) per entry.

const TABLE = Uint32Array.from({ length: 256 }, (_, number) => {
  for (let bit = 0; bit < 8; bit++) {
    number = number & 1 ? (number >>> 1) ^ 0xedb88320 : number >>> 1;
  }
  return number;
});

function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

// Encodes Latin-1, the encoding of the chunk.
const latin = (text) =>
  Uint8Array.from([...text].map((char) => (char.codePointAt(0) < 256 ? char.codePointAt(0) : 63)));

function chunk(key, value) {
  const content = [...latin("tEXt"), ...latin(key), 0, ...latin(String(value))];
  const bytes = new Uint8Array(content.length + 8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length - 4);
  bytes.set(content, 4);
  view.setUint32(4 + content.length, checksum(content));
  return bytes;
}

const HEADER = 8 + 25; // The signature and the chunk IHDR, which comes first.

/** Returns the PNG with a text entry per fact. */
export function withText(png, facts) {
  const chunks = Object.entries(facts).map(([key, value]) => chunk(key, value));
  return new Blob([png.slice(0, HEADER), ...chunks, png.slice(HEADER)], { type: "image/png" });
}
