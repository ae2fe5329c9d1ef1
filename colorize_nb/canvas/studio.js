// One photo on a canvas: hints are placed, moved, coloured and taken away; Python makes the picture.
// `mount` draws it for anybody who can `about`, `open`, `act` and `save`: see `server` and `notebook` below.
const hex = (rgb) => '#' + rgb.map((v) => Math.round(v).toString(16).padStart(2, '0')).join('');
const numbers = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
const between = (v, low, high) => Math.max(low, Math.min(high, v));

function make(kind, attributes = {}, ...inside) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.includes('-') || name === 'role') element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...inside);
  return element;
}

const load = (src) => new Promise((done, failed) => {
  const im = Object.assign(new Image(), {
    onload: () => done(im), onerror: () => failed(new Error('the picture did not arrive')), src});
});

const help = 'Photo. Arrow keys move the cross, Enter places a hint there. N chooses the next hint: then arrow keys move it, '
  + 'Delete takes it away, Escape lets it go. Shift makes larger steps. Control+Z undoes, Control+Y does it again. '
  + 'Plus and minus zoom.';

export function mount(root, api) {
  // What is on the screen. `answer` is the last word of Python: size, hints, saturation, picture.
  let answer = null, after = null, compared = {};
  let chosen = -1, cut = 0, scale = 1, picking = false, cursor = null, drag = null, moved = null;
  let turn = Promise.resolve(), limits = {};

  // ---- parts of the page ----
  const button = (text, id, onclick, more) => make('button', {type: 'button', id, onclick, ...more}, text);
  const label = (text, element) => make('label', {}, text, element);
  const bar = (...inside) => make('div', {className: 'bar'}, ...inside);
  const range = (id, max, step, value) => make('input', {type: 'range', id, min: 0, max, step, value});

  const file = make('input', {type: 'file', id: 'photo'});
  const path = make('input', {type: 'text', id: 'path', size: 16, placeholder: 'photo.jpg'});
  const samples = make('select', {id: 'sample'}, make('option', {value: ''}, 'choose'));
  const hints = make('input', {type: 'file', id: 'hints', accept: '.json'});
  const canvas = make('canvas', {tabIndex: 0, width: 1, height: 1, role: 'application', 'aria-label': help});
  const view = make('div', {className: 'view'}, canvas);
  const palette = make('div', {className: 'bar', id: 'palette', role: 'group', 'aria-label': 'Likely colours: guesses'});
  const free = make('input', {type: 'color', value: '#3060c0', id: 'free'});
  const pipette = button('Pipette', 'pipette', () => pick(!picking), {'aria-pressed': false});
  const list = make('ol', {'aria-label': 'Hints'});
  const slider = range('cut', 1, 0.01, 0);
  const against = make('select', {id: 'against'}, make('option', {value: 'gray'}, 'gray'), make('option', {value: 'automatic'}, 'automatic'));
  const saturation = range('saturation', 2, 0.05, 1);
  const name = make('input', {type: 'text', id: 'name', size: 20, value: 'photo_color.png'});
  const state = make('p', {className: 'state', role: 'status'});

  // ---- asking Python ----
  function say(text, wrong = false) {
    state.textContent = text;
    state.classList.toggle('wrong', wrong);
  }

  // Requests wait for each other, so that answers come in the order of the clicks.
  function ask(work) {
    turn = turn.then(async () => {
      root.setAttribute('aria-busy', 'true');
      try { await work(); } catch (e) { say(e.message, true); }
      root.setAttribute('aria-busy', 'false');
    });
    return turn;
  }

  async function show(next) {
    answer = next;
    after = await load(answer.picture);
    if (answer.automatic) compared = {automatic: await load(answer.automatic), gray: await load(answer.gray)};
    chosen = Math.min(chosen, answer.hints.length - 1);
    saturation.value = answer.saturation;
    const n = answer.hints.length;
    say(`${n} ${n === 1 ? 'hint' : 'hints'}. Colours are guesses.`);
    draw();
  }

  function act(message) {
    if (!answer) return say('Open a photo first.');
    settle();
    return ask(async () => show(await api.act(message)));
  }

  function open(what) {
    return ask(async () => {
      if (what.file && what.file.size > limits.most_bytes) {
        throw new Error(`${what.file.name}: ${what.file.size} bytes, more than ${limits.most_bytes}: make the photo smaller first`);
      }
      say('Colouring ...');
      const next = await api.open(what);
      [chosen, cut, slider.value, cursor] = [-1, 0, 0, null];
      palette.replaceChildren();
      zoom(1 / scale);
      name.value = next.name.replace(/^.*[/\\]/, '').replace(/\.[^.]*$/, '') + '_color.png';
      await show(next);
    });
  }

  // ---- drawing ----
  function mark(c, hint, i) {
    const k = canvas.width / answer.size[0];
    c.beginPath();
    c.arc(hint.x * k, hint.y * k, 6 / Math.sqrt(scale), 0, 7);
    c.fillStyle = hex(hint.rgb);
    c.fill();
    c.lineWidth = (i === chosen ? 4 : 2) / Math.sqrt(scale);
    c.strokeStyle = i === chosen ? 'yellow' : 'white';
    c.stroke();
  }

  function cross(c) {
    const k = canvas.width / answer.size[0], [x, y] = [cursor.x * k, cursor.y * k];
    for (const [color, width] of [['black', 4], ['white', 2]]) {
      c.beginPath();
      c.moveTo(x - 10, y);
      c.lineTo(x + 10, y);
      c.moveTo(x, y - 10);
      c.lineTo(x, y + 10);
      [c.strokeStyle, c.lineWidth] = [color, width];
      c.stroke();
    }
  }

  function draw() {
    if (!after) return;
    [canvas.width, canvas.height] = [after.width, after.height];
    const c = canvas.getContext('2d'), x = Math.round(canvas.width * cut);
    c.drawImage(after, 0, 0);
    if (x > 0) c.drawImage(compared[against.value], 0, 0, x, canvas.height, 0, 0, x, canvas.height);
    answer.hints.forEach((hint, i) => mark(c, hint, i));
    if (cursor && chosen < 0 && document.activeElement === canvas) cross(c);
    slider.setAttribute('aria-valuetext', `${Math.round(cut * 100)}% of the width before`);
    list.replaceChildren(...answer.hints.map(entry));
  }

  function entry(hint, i) {
    const dot = make('span', {className: 'dot'}), text = `${i + 1}: ${Math.round(hint.x)}, ${Math.round(hint.y)}`;
    dot.style.background = hex(hint.rgb);
    const choice = button('', '', () => choose(i), {'aria-pressed': i === chosen, 'aria-label': `Hint ${text}, colour ${hex(hint.rgb)}`});
    choice.append(dot, text);
    return make('li', {}, choice);
  }

  // ---- places and colours ----
  const inside = ({x, y}) => ({x: between(x, 0, answer.size[0] - 1), y: between(y, 0, answer.size[1] - 1)});

  function place(event) {
    const box = canvas.getBoundingClientRect(), [w, h] = answer.size;
    return inside({x: (event.clientX - box.left) / box.width * w, y: (event.clientY - box.top) / box.height * h});
  }

  function near({x, y}) {
    const reach = 12 * answer.size[0] / canvas.getBoundingClientRect().width;
    const far = answer.hints.map((hint) => Math.hypot(hint.x - x, hint.y - y));
    const best = far.indexOf(Math.min(...far));
    return far[best] < reach ? best : -1;
  }

  function choose(i) {
    chosen = i;
    draw();
    if (i >= 0) suggest(answer.hints[i]);
  }

  const suggest = ({x, y}) => ask(async () => {
    const {colours} = await api.act({do: 'likely', x, y});
    palette.replaceChildren('Likely here:', ...colours.map((rgb) => {
      const choice = button('', '', () => recolour(rgb), {className: 'colour', 'aria-label': `likely colour ${hex(rgb)}`});
      choice.style.background = hex(rgb);
      return choice;
    }));
  });

  function recolour(rgb) {
    free.value = hex(rgb);
    if (answer && answer.hints[chosen]) act({do: 'edit', i: chosen, rgb});
  }

  function pick(on) {
    picking = on;
    pipette.setAttribute('aria-pressed', on);
    canvas.classList.toggle('picking', on);
    if (on) say('Click on the colour to take.');
  }

  function put(at) {
    settle();
    if (picking) {
      pick(false);
      return ask(async () => recolour((await api.act({do: 'pipette', ...at})).colours[0]));
    }
    const start = performance.now();
    ask(async () => {
      const next = await api.act({do: 'add', ...at, rgb: numbers(free.value)});
      chosen = next.hints.length - 1;
      await show(next);
      canvas.dataset.took = performance.now() - start;  // milliseconds from the click to the picture
    });
    return suggest(at);
  }

  // Python hears of a hint that was moved by keys only when the keys rest.
  function settle() {
    if (!moved) return;
    const {timer, ...message} = moved;
    clearTimeout(timer);
    moved = null;
    ask(async () => show(await api.act({do: 'edit', ...message})));
  }

  function step(dx, dy) {
    const hint = answer.hints[chosen], far = Math.max(...answer.size) / 200;
    const from = hint || cursor || {x: answer.size[0] / 2, y: answer.size[1] / 2};
    const at = inside({x: from.x + dx * far, y: from.y + dy * far});
    if (hint) {
      Object.assign(hint, at);
      if (moved) clearTimeout(moved.timer);
      moved = {i: chosen, ...at, timer: setTimeout(settle, 250)};
    } else {
      cursor = at;
    }
    draw();
  }

  function remove() {
    if (answer && answer.hints[chosen]) act({do: 'delete', i: chosen});
    else say('Choose a hint first: click on it, or press N.');
  }

  // ---- zoom and pan ----
  function zoom(by, event) {
    const box = canvas.getBoundingClientRect(), was = scale;
    const [x, y] = event ? [event.clientX - box.left, event.clientY - box.top] : [box.width / 2, box.height / 2];
    scale = between(scale * by, 1, 8);
    canvas.style.width = `${100 * scale}%`;
    view.scrollLeft += x * (scale / was - 1);
    view.scrollTop += y * (scale / was - 1);
    draw();
  }

  view.addEventListener('wheel', (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, event);
  }, {passive: false});

  // ---- mouse, pen, finger ----
  canvas.onpointerdown = (event) => {
    if (!answer || event.button === 2) return;
    const pan = event.shiftKey || event.button === 1;
    if (pan) event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    const i = picking || pan ? -1 : near(place(event));
    drag = {i, pan, from: place(event), x: event.clientX, y: event.clientY};
    if (i >= 0) chosen = i;
    draw();
  };

  canvas.onpointermove = (event) => {
    if (!drag) return;
    if (drag.pan) view.scrollBy(-event.movementX, -event.movementY);
    else if (drag.i >= 0) Object.assign(answer.hints[drag.i], place(event));
    draw();
  };

  canvas.onpointerup = (event) => {
    if (!drag) return;
    const at = place(event), {i, pan, x, y} = drag;
    drag = null;
    if (pan) return;
    const still = Math.hypot(event.clientX - x, event.clientY - y) < 3;
    if (i >= 0 && !still) act({do: 'edit', i, ...at});
    else if (i >= 0) choose(i);
    else if (still) put(at);
  };

  canvas.onpointercancel = () => { drag = null; };

  root.ondragover = (event) => event.preventDefault();
  root.ondrop = (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) open({file: event.dataTransfer.files[0]});
  };

  // ---- keys ----
  canvas.onfocus = canvas.onblur = () => draw();
  canvas.onkeydown = (event) => {
    if (!answer) return;
    const key = event.key.toLowerCase(), big = event.shiftKey ? 5 : 1;
    const keys = {
      arrowleft: () => step(-big, 0), arrowright: () => step(big, 0), arrowup: () => step(0, -big), arrowdown: () => step(0, big),
      enter: () => put(cursor || {x: answer.size[0] / 2, y: answer.size[1] / 2}), delete: remove, backspace: remove,
      n: () => choose(answer.hints.length ? (chosen + 1) % answer.hints.length : -1), escape: () => { pick(false); choose(-1); },
      '+': () => zoom(1.5), '-': () => zoom(1 / 1.5)};
    const controls = {z: () => act({do: event.shiftKey ? 'redo' : 'undo'}), y: () => act({do: 'redo'})};
    const work = (event.ctrlKey || event.metaKey ? controls : keys)[key];
    if (!work) return;
    event.preventDefault();
    event.stopPropagation();
    work();
  };

  // ---- the other parts ----
  file.onchange = () => { if (file.files.length) open({file: file.files[0]}).then(() => { file.value = ''; }); };
  path.onkeydown = (event) => { if (event.key === 'Enter' && path.value.trim()) open({path: path.value.trim()}); };
  samples.onchange = () => { if (samples.value) open({sample: samples.value}).then(() => { samples.value = ''; }); };
  hints.onchange = () => {
    const [chosenFile] = hints.files;
    if (!chosenFile) return;
    ask(async () => {
      if (!answer) throw new Error('Open the photo of these hints first.');
      if (chosenFile.size > limits.most_bytes) throw new Error(`${chosenFile.name}: too large for a file of hints`);
      await show(await api.act({do: 'reopen', text: await chosenFile.text()}));
    }).then(() => { hints.value = ''; });
  };
  slider.oninput = () => { cut = Number(slider.value); draw(); };
  against.onchange = draw;
  saturation.onchange = () => act({do: 'change', saturation: Number(saturation.value)});
  free.onchange = () => recolour(numbers(free.value));
  const save = () => {
    settle();
    ask(async () => {
      if (!answer) throw new Error('Open a photo first.');
      say('Saving in full resolution ...');
      say(await api.save(name.value.trim()));
    });
  };

  root.classList.add('studio');
  root.dataset.lmSuppressShortcuts = 'true';  // or JupyterLab takes the keys
  root.append(
    bar(label('Photo', file), label('or a path', path), label('or a sample', samples)),
    view,
    bar(label('Before / after', slider), label('Before is', against), label('Saturation', saturation),
      button('+', 'larger', () => zoom(1.5), {'aria-label': 'Zoom in'}), button('-', 'smaller', () => zoom(1 / 1.5), {'aria-label': 'Zoom out'}),
      button('Undo', 'undo', () => act({do: 'undo'})), button('Redo', 'redo', () => act({do: 'redo'})),
      button('Delete hint', 'delete', remove), button('Clear', 'clear', () => act({do: 'clear'}))),
    bar(label('Colour', free), pipette, palette), list,
    bar(label('Save as', name), button('Save photo and hints', 'save', save), label('Hints', hints)), state);
  ask(async () => {
    const about = await api.about();
    limits = about;
    samples.append(...about.samples.map((sample) => make('option', {value: sample}, sample)));
    if (about.photo) await show(about.photo);
  });
}

// ---- the page of colorize-studio: Python is asked over HTTP ----
function keep(blob, name) {
  const link = make('a', {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

export function server(token) {
  let photo = '';
  const send = async (path, body) => {
    const reply = await fetch(path, {method: 'POST', body, headers: {'X-Token': token, 'X-Photo': photo}});
    if (!reply.ok) throw new Error((await reply.json()).error);
    return reply;
  };
  return {
    about: async () => (await send('about')).json(),
    open: async ({file, path, sample}) => {
      const [how, body] = file ? ['upload', file] : path ? ['path', path] : ['sample', sample];
      const made = await (await send(`open/${how}`, body)).json();
      photo = made.photo;
      return {name: file ? file.name : path || sample, ...made};
    },
    act: async (message) => (await send('act', JSON.stringify(message))).json(),
    save: async (name) => {
      const coloured = await (await send('save/photo', name)).blob(), hints = await (await send('save/hints', name)).blob();
      const beside = name.replace(/\.[^.]*$/, '') + '.hints.json';
      keep(coloured, name);
      keep(hints, beside);
      return `Saved ${name} and ${beside}.`;
    },
  };
}

// ---- a cell of a notebook: Python is asked through the widget's messages ----
export function notebook(model) {
  const waiting = new Map(), mine = Math.random().toString(36).slice(2);
  let count = 0;
  model.on('msg:custom', ({id, answer}) => {
    const done = waiting.get(id);
    waiting.delete(id);
    if (done) done(answer);
  });
  const send = (message, buffers = []) => new Promise((done, failed) => {
    const id = `${mine} ${count += 1}`;
    waiting.set(id, (answer) => answer.error ? failed(new Error(answer.error)) : done(answer));
    model.send({...message, id}, undefined, buffers);
  });
  return {
    about: () => send({ask: 'about'}),
    open: async ({file, path, sample}) => {
      if (!file) return {name: path || sample, ...await send({ask: 'open', how: path ? 'path' : 'sample', what: path || sample})};
      const part = 1e6;  // bytes: a message of more than 10 MB would be lost between browser and Jupyter
      for (let from = 0; from < file.size; from += part) {
        await send({ask: 'part', first: from === 0}, [await file.slice(from, from + part).arrayBuffer()]);
      }
      return {name: file.name, ...await send({ask: 'open', how: 'upload', what: file.size})};
    },
    act: (message) => send({ask: 'act', message}),
    save: async (name) => (await send({ask: 'save', name})).said,
  };
}

export default {
  render: ({model, el}) => mount(el, notebook(model)),
};

const here = document.getElementById('studio');
if (here) mount(here, server(new URLSearchParams(location.search).get('token')));
