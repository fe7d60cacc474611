// A field for pictures: files are chosen or dropped, and what it shows has buttons to pick from.
const MAX_BYTES = props.max_mb * 1024 * 1024;

async function send(file) {
  if (!file) return;
  if (file.size > MAX_BYTES) return trigger('refuse', { reason: 'large' });
  element.setAttribute('aria-busy', 'true');
  try {
    const { path } = await upload(file);
    trigger('upload', { path });
  } catch {
    element.removeAttribute('aria-busy');
    trigger('refuse', { reason: 'broken' });
  }
}

element.addEventListener('change', (event) => {
  if (event.target.type !== 'file') return;
  send(event.target.files[0]);
  event.target.value = '';
});

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-pick]');
  if (button) trigger('pick', { value: button.dataset.pick });
});

for (const name of ['dragenter', 'dragover', 'dragleave', 'drop']) {
  element.addEventListener(name, (event) => {
    const place = event.target.closest('.drop');
    if (!place) return;
    event.preventDefault();
    place.classList.toggle('over', name === 'dragenter' || name === 'dragover');
    if (name === 'drop') send(event.dataTransfer.files[0]);
  });
}
