// The JSON API. Addresses are relative, so that the page works behind a proxy under any path.

const PATIENCE = 20_000; // milliseconds: longer than the server waits for the store

/** An answer that is not the one asked for; `status` is HTTP's, or 0 where the dashboard's server did not answer. */
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
    throw new ApiError(0, "the dashboard's server does not answer");
  }
  if (!answer.ok) throw new ApiError(answer.status, await detail(answer));
  return answer.json();
}

/** What the API knows of a run under a name that may hold any character. */
export function ofRun(run, what, query = {}) {
  const search = new URLSearchParams(query).toString();
  return get(`runs/${encodeURIComponent(run)}/${what}${search && `?${search}`}`);
}

/** Send the token; the server answers with a cookie that scripts cannot read. */
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
  return typeof body?.detail === "string" ? body.detail : `the server answered ${answer.status}`;
}
