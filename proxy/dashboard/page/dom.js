// Elements without markup: whatever comes from the grid is text, never HTML.

const SVG = 'http://www.w3.org/2000/svg';

/** Make an element. `props` are attributes, with `on` for listeners and `class`; children are elements or text. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === 'on')
      for (const [event, listener] of Object.entries(value))
        made.addEventListener(event, listener);
    else if (value !== undefined && value !== false && value !== null)
      made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return made;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg'), use = document.createElementNS(SVG, 'use');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Set an element's text if it differs; its node stays, so that a selection does. */
export function say(element, text) {
  const { firstChild } = element;
  if (firstChild?.nodeType !== Node.TEXT_NODE || firstChild.nextSibling)
    element.textContent = text;
  else if (firstChild.data !== text)
    firstChild.data = text;
}

/** Set a text that may be cut off; its title tells all of it. */
export function label(element, text) {
  say(element, text);
  if (element.title !== text)
    element.title = text;
}

/** Replace an element's children if `signature` has changed since the last time. */
export function fill(element, signature, make) {
  if (element.filledWith === signature)
    return;
  element.filledWith = signature;
  element.replaceChildren(...make());
}

/**
 * Keep one child for each item, in their order, so that what has the focus keeps it.
 *
 * `make` returns the element of an item; `update` is called with the element and the item each time.
 */
export function keep(parent, items, keyOf, make, update) {
  const children = parent.kept ??= new Map(), wanted = new Set(items.map(keyOf)), focused = document.activeElement;
  for (const [key, child] of children)
    if (!wanted.has(key)) {
      child.remove();
      children.delete(key);
    }
  let before = null;
  for (const item of items) {
    const key = keyOf(item);
    let child = children.get(key);
    if (!child)
      children.set(key, child = make(item));
    const place = before ? before.nextSibling : parent.firstChild;
    if (place !== child)
      parent.insertBefore(child, place);
    update(child, item);
    before = child;
  }
  if (focused !== document.activeElement && parent.contains(focused))
    focused.focus({ preventScroll: true });  // it was moved
}
