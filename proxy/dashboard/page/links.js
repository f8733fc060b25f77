// Links to a session: /dashboard#session=ID shows its story, also to whom the link is sent.

const LINK = /^#session=([\w-]{1,64})$/;

/** Return the session that the page's address names, "" if there is none. */
export function linkedSession() {
  return LINK.exec(location.hash)?.[1] ?? '';
}

/** Let the page's address name a session, or none. */
export function nameSession(id) {
  if (id !== linkedSession())
    history.replaceState(null, '', id ? `#session=${id}` : location.pathname + location.search);
}
