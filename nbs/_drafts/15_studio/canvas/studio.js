// One photo on a canvas: hints are placed, moved, coloured and taken away; Python makes the picture.
const hex = (rgb) => '#' + rgb.map((v) => Math.round(v).toString(16).padStart(2, '0')).join('');
const numbers = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));

function make(kind, attributes, ...inside) {
  const element = Object.assign(document.createElement(kind), attributes);
  element.append(...inside);
  return element;
}

const load = (src) => new Promise((done, failed) => {
  const im = Object.assign(new Image(), {onload: () => done(im), onerror: failed, src});
});

export function mount(root, api) {
  const view = {chosen: -1, cut: 0, zoom: 1, picking: false};
  let answer = null, before = null, after = null, drag = null, turn = Promise.resolve();
  const state = make('p', {className: 'state', role: 'status'});
  const canvas = make('canvas', {tabIndex: 0, width: 1, height: 1});
  canvas.setAttribute('role', 'application');
  canvas.setAttribute('aria-label', 'Photo. Enter places a hint in the middle, N chooses the next hint, '
    + 'arrows move the chosen hint, Delete takes it away, Ctrl+Z undoes.');
  const palette = make('div', {className: 'bar'});
  palette.setAttribute('role', 'group');
  palette.setAttribute('aria-label', 'Likely colours: guesses');
  const free = make('input', {type: 'color', value: '#3060c0', id: 'free'});
  const button = (text, id, onclick) => make('button', {type: 'button', id, onclick}, text);
  const range = (id, max, step, value, oninput) => make('input', {type: 'range', id, min: 0, max, step, value, oninput});

  function say(text, wrong = false) {
    state.textContent = text;
    state.classList.toggle('wrong', wrong);
  }

  // Requests wait for each other, so that answers come in the order of the clicks.
  function ask(work) {
    turn = turn.then(work).catch((e) => say(e.message, true));
    return turn;
  }

  async function show(next) {
    answer = next;
    after = await load(answer.picture);
    if (answer.automatic) before = await load(answer.automatic);
    view.chosen = Math.min(view.chosen, answer.hints.length - 1);
    saturation.value = answer.saturation;
    draw();
    say(`${answer.hints.length} hints. Colours are guesses.`);
  }

  const act = (message) => ask(async () => answer && show(await api.act(message)));

  function draw() {
    if (!after) return;
    [canvas.width, canvas.height] = [after.width, after.height];
    const c = canvas.getContext('2d'), x = canvas.width * view.cut;
    c.drawImage(after, 0, 0);
    if (x > 0 && before) c.drawImage(before, 0, 0, x, canvas.height, 0, 0, x, canvas.height);
    const scale = canvas.width / answer.size[0];
    answer.hints.forEach((hint, i) => {
      c.beginPath();
      c.arc(hint.x * scale, hint.y * scale, 6, 0, 7);
      c.fillStyle = hex(hint.rgb);
      c.fill();
      c.lineWidth = i === view.chosen ? 4 : 2;
      c.strokeStyle = i === view.chosen ? 'yellow' : 'white';
      c.stroke();
    });
  }

  function place(event) {
    const box = canvas.getBoundingClientRect(), [w, h] = answer.size;
    const inside = (v, most) => Math.max(0, Math.min(most - 1, v));
    return {x: inside((event.clientX - box.left) / box.width * w, w), y: inside((event.clientY - box.top) / box.height * h, h)};
  }

  function near({x, y}) {
    const reach = 10 * answer.size[0] / canvas.getBoundingClientRect().width;
    return answer.hints.findIndex((hint) => Math.hypot(hint.x - x, hint.y - y) < reach);
  }

  const suggest = ({x, y}) => ask(async () => {
    const {colours} = await api.act({do: 'likely', x, y});
    palette.replaceChildren(...colours.map((rgb) => {
      const choice = button('', '', () => recolour(rgb));
      choice.className = 'colour';
      choice.style.background = hex(rgb);
      choice.setAttribute('aria-label', `likely colour ${hex(rgb)}`);
      return choice;
    }));
  });

  function recolour(rgb) {
    free.value = hex(rgb);
    if (view.chosen >= 0) act({do: 'edit', i: view.chosen, rgb});
  }

  function put(at) {
    if (view.picking) {
      view.picking = false;
      return ask(async () => recolour((await api.act({do: 'pipette', ...at})).colours[0]));
    }
    view.chosen = answer.hints.length;
    act({do: 'add', ...at, rgb: numbers(free.value)});
    return suggest(at);
  }

  canvas.onpointerdown = (event) => {
    if (!answer) return;
    canvas.setPointerCapture(event.pointerId);
    const i = view.picking ? -1 : near(place(event));
    drag = {i, from: place(event)};
    if (i >= 0) view.chosen = i;
    draw();
  };
  canvas.onpointerup = (event) => {
    if (!drag) return;
    const at = place(event), {i, from} = drag;
    drag = null;
    if (i < 0) put(at);
    else if (Math.hypot(at.x - from.x, at.y - from.y) > 1) act({do: 'edit', i, ...at});
    else suggest(at);
  };

  function step(dx, dy) {
    const hint = answer.hints[view.chosen], [w, h] = answer.size, far = Math.max(w, h) / 200;
    const inside = (v, most) => Math.max(0, Math.min(most - 1, v));
    if (hint) act({do: 'edit', i: view.chosen, x: inside(hint.x + dx * far, w), y: inside(hint.y + dy * far, h)});
  }

  canvas.onkeydown = (event) => {
    if (!answer) return;
    const control = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
    const keys = {arrowleft: () => step(-1, 0), arrowright: () => step(1, 0), arrowup: () => step(0, -1), arrowdown: () => step(0, 1)};
    keys.delete = keys.backspace = remove;
    keys.enter = () => put({x: answer.size[0] / 2, y: answer.size[1] / 2});
    keys.n = () => { view.chosen = answer.hints.length ? (view.chosen + 1) % answer.hints.length : -1; draw(); };
    const undo = control && key === 'z', redo = control && (key === 'y' || (undo && event.shiftKey));
    const work = redo ? () => act({do: 'redo'}) : undo ? () => act({do: 'undo'}) : control ? null : keys[key];
    if (!work) return;
    event.preventDefault();
    work();
  };

  function remove() {
    if (view.chosen >= 0 && answer.hints[view.chosen]) act({do: 'delete', i: view.chosen});
  }

  function zoom(by) {
    view.zoom = Math.max(1, Math.min(8, view.zoom * by));
    canvas.style.width = `${100 * view.zoom}%`;
  }

  function keep(blob, name) {
    const link = make('a', {href: URL.createObjectURL(blob), download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  const file = make('input', {type: 'file', id: 'photo', onchange: () => ask(async () => {
    if (!file.files.length) return;
    say('Colouring ...');
    palette.replaceChildren();
    view.chosen = -1;
    await show(await api.open(file.files[0]));
  })});
  const hints = make('input', {type: 'file', id: 'hints', accept: '.json', onchange: () => hints.files.length
    && ask(async () => show(await api.act({do: 'reopen', text: await hints.files[0].text()})))});
  const saturation = make('input', {type: 'range', id: 'saturation', min: 0, max: 2, step: 0.05,
    onchange: () => act({do: 'change', saturation: Number(saturation.value)})});
  const cut = range('cut', 1, 0.01, 0, () => { view.cut = Number(cut.value); draw(); });
  const label = (text, element) => make('label', {}, text + ' ', element);
  free.onchange = () => recolour(numbers(free.value));
  const save = (kind) => ask(async () => answer && keep(...await api.save(kind)));
  root.append(
    make('div', {className: 'bar'}, label('Photo', file), label('Hints', hints)),
    make('div', {className: 'bar'}, button('Undo', 'undo', () => act({do: 'undo'})), button('Redo', 'redo', () => act({do: 'redo'})),
      button('Delete hint', 'delete', remove), button('Clear', 'clear', () => act({do: 'clear'})),
      button('Pipette', 'pipette', () => { view.picking = true; say('Click on the colour to take.'); }),
      label('Any colour', free), button('+', 'larger', () => zoom(1.5)), button('-', 'smaller', () => zoom(1 / 1.5))),
    palette, make('div', {className: 'view'}, canvas),
    make('div', {className: 'bar'}, label('Before / after', cut), label('Saturation', saturation),
      button('Save photo', 'save', () => save('png')), button('Save hints', 'savehints', () => save('json'))), state);
  root.querySelector('#larger').setAttribute('aria-label', 'Zoom in');
  root.querySelector('#smaller').setAttribute('aria-label', 'Zoom out');
}

// The page of colorize-studio: the same four questions, asked over HTTP.
export function server(token) {
  let photo = '', name = 'photo';
  const send = async (path, body) => {
    const reply = await fetch(path, {method: 'POST', body, headers: {'X-Token': token, 'X-Photo': photo}});
    if (!reply.ok) throw new Error((await reply.json()).error);
    return reply;
  };
  return {
    open: async (file) => {
      const made = await (await send('open', file)).json();
      [photo, name] = [made.photo, file.name.replace(/\.[^.]*$/, '')];
      return made;
    },
    act: async (message) => (await send('act', JSON.stringify(message))).json(),
    save: async (kind) => [await (await send(`save/${kind}`)).blob(), name + (kind === 'json' ? '_color.hints.json' : '_color.png')],
  };
}

const here = document.getElementById('studio');
if (here) mount(here, server(new URLSearchParams(location.search).get('token')));
