// What a person takes away from the page: a file, or text in the clipboard.

const KEPT = 10_000; // Milliseconds that a browser may take to begin a download.

/** Downloads a PNG; what file names cannot hold becomes a dash. */
export function download(blob, stem) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${stem.replace(/[^\w.-]+/g, "-").slice(0, 120).toLowerCase()}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT);
}

/** Puts text into the clipboard. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages from other machines without TLS have no clipboard: the old way.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
