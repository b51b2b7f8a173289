// The JSON API. URLs are relative, so that the page works behind a proxy under any path.

const PATIENCE = 20_000; // milliseconds: longer than the server waits for the store

/** A failed request; `status` is the HTTP status, or 0 if the dashboard's server did not answer. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function get(path) {
  let answer;
  try {
    answer = await fetch(`api/${path}`, {
      signal: AbortSignal.timeout(PATIENCE),
      credentials: "same-origin",
    });
  } catch {
    throw new ApiError(0, "the dashboard server does not answer; is sadp-dist dashboard still running?");
  }
  if (!answer.ok) throw new ApiError(answer.status, await detail(answer));
  return answer.json();
}

/** Query a run, whose name may contain any character. */
export function ofRun(run, what, query = {}) {
  const search = new URLSearchParams(query).toString();
  return get(`runs/${encodeURIComponent(run)}/${what}${search && `?${search}`}`);
}

/** Send the token. The server responds with a cookie that scripts cannot read. */
export async function logIn(token) {
  const answer = await fetch("login", {
    method: "POST",
    body: new URLSearchParams({ token }),
    credentials: "same-origin",
  });
  if (!answer.ok) throw new ApiError(answer.status, await detail(answer));
}

async function detail(answer) {
  const body = await answer.json().catch(() => null);
  return typeof body?.detail === "string" ? body.detail : `the server answered with status ${answer.status}`;
}
