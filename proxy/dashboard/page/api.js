// Calls of the REST API, with its errors in words.

/** Call the API; returns the answer, and raises an error with a sentence for the user. */
export async function call(path, { method = 'GET', token = '' } = {}) {
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, { method, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  } catch {
    throw new Error('The proxy does not answer. Is it restarting?');
  }
  const text = await answer.text();
  const content = parsed(text);
  if (answer.ok)
    return content;
  const { message = `The proxy answered ${answer.status}.`, hint = '' } = content?.error ?? {};
  throw Object.assign(new Error(`${message} ${hint}`.trim()), { status: answer.status });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export const part = encodeURIComponent;
