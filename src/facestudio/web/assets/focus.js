// What is shown is drawn anew as a whole: the keyboard's focus goes back to where it was.
let focused = null;

function toSelector(target) {
  if (target.id) return `#${CSS.escape(target.id)}`;
  const words = Object.entries(target.dataset).map(([k, v]) => `[data-${k}="${CSS.escape(v)}"]`);
  return words.join('') || null;
}

document.addEventListener('focusin', (event) => {
  focused = element.contains(event.target) ? toSelector(event.target) : null;
});

new MutationObserver(() => {
  const lost = focused && (!document.activeElement || document.activeElement === document.body);
  if (lost) element.querySelector(focused)?.focus({ preventScroll: true });
}).observe(element, { childList: true, subtree: true });

