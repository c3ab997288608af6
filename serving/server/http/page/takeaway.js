// Saves a picture as a file, or copies text to the clipboard.

const KEPT = 10_000; // Milliseconds that a browser may take to begin a download.

/** Downloads a PNG; characters that are not allowed in file names become dashes. */
export function download(blob, stem) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${stem.replace(/[^\w.-]+/g, "-").slice(0, 120).toLowerCase()}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT);
}

/** Copies text to the clipboard. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS, a page from another machine has no clipboard API.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
