// A request as a command for a shell.

const LONGEST_ARGUMENT = 100_000; // Linux takes 128 KiB.
const LONGEST_SHOWN = 1500;

// Inside single quotes, only the single quote is special to a shell.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The curl command of a request; a token is taken from the environment, never written out. */
export function command(url, request, withToken) {
  const body = JSON.stringify(request);
  const token = withToken ? ` -H "Authorization: Bearer $TOKEN"` : "";
  const start = `curl -s${token} ${quoted(url.href)}`;
  if (body.length <= LONGEST_ARGUMENT) return `${start} \\\n  -d ${quoted(body)}`;
  return `${start} -d @- <<'END'\n${body}\nEND`;
}

export const shortened = (text) =>
  text.length <= LONGEST_SHOWN
    ? text
    : `${text.slice(0, LONGEST_SHOWN - 200)}\n… ${text.length - LONGEST_SHOWN + 100} characters …\n${text.slice(-100)}`;
