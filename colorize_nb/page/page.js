// The page: files in, messages to the worker, pictures and buttons out. The photos themselves are worked on in worker.js.
const settings = JSON.parse(document.getElementById('settings').textContent);
const $ = (selector, inside = document) => inside.querySelector(selector);
const show = (element, yes = true) => { element.hidden = !yes; };

// ---- the files beside the page, or inside it ----
const inside = name => document.querySelector(`script[data-file="${name}"]`);   // --single: base64 in the page
const fromBase64 = text => Uint8Array.from(atob(text.trim()), c => c.charCodeAt(0));
const gunzip = blob => blob.stream().pipeThrough(new DecompressionStream('gzip'));

async function read(name, onBytes) {
  const element = inside(name);
  if (element) return new Blob([fromBase64(element.textContent)]);
  const response = await fetch(name).catch(() => null);
  if (!response?.ok) throw new Error(`${name} did not arrive${response ? ` (the server says ${response.status})` : ''}`);
  const parts = [], reader = response.body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    parts.push(next.value);
    onBytes(next.value.length);
  }
  return new Blob(parts);
}

/** Bytes of a file that may be gzipped; some servers unpack .gz on their own. */
async function bytes(name, onBytes) {
  const blob = await read(name, onBytes), start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  const packed = start[0] === 0x1f && start[1] === 0x8b;
  return new Response(packed ? gunzip(blob) : blob).arrayBuffer();
}

async function startWorker() {
  if (!inside('worker.js')) return new Worker('worker.js', {type: 'module'});
  const url = URL.createObjectURL(new Blob([await bytes('worker.js')], {type: 'text/javascript'}));
  return new Worker(url);                          // of a page opened as a file no browser takes a module
}

// ---- the worker ----
class Helper {
  constructor(worker) {
    this.worker = worker;
    this.waiting = new Map();
    this.count = 0;
    worker.onmessage = ({data}) => this.hear(data);
    worker.onerror = e => this.waiting.forEach(({no}) => no(new Error(`the worker of this page stopped: ${e.message ?? 'no reason given'}`)));
  }
  hear({id, progress, done, failed}) {
    const job = this.waiting.get(id);
    if (progress) return job.onProgress?.(progress);
    this.waiting.delete(id);
    if (failed) job.no(Object.assign(new Error(failed.text), failed));
    else job.yes(done);
  }
  ask(job, given = {}, onProgress, move = []) {
    const id = this.count++;
    this.worker.postMessage({id, job, ...given}, move);
    return new Promise((yes, no) => this.waiting.set(id, {yes, no, onProgress}));
  }
  end() { this.worker.terminate(); }
}

async function gpuThere() {
  if (!settings.runtimes.webgpu || !navigator.gpu || !WebAssembly.Suspending) return false;
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  return adapter !== null && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
}

const wanted = new URLSearchParams(location.search).get('run');   // ?run=wasm or ?run=webgpu, for trying out
let helper = null;

async function start(kind) {
  const {module, binary} = settings.runtimes[kind], names = [binary, settings.network];
  let got = 0;
  const total = names.reduce((sum, name) => sum + settings.bytes[name], 0);
  const onBytes = n => {
    got += n;
    $('#bar').value = Math.min(1, got/total);
  };
  $('#doing').textContent = 'Loading the network';
  show($('#loading'));
  const [wasm, network] = await Promise.all(names.map(name => bytes(name, onBytes)));
  $('#doing').textContent = 'Starting the network';
  const fresh = new Helper(await startWorker());
  const threads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency ?? 1) : 1;
  const given = {module: module && new URL(module, location.href).href, wasm, network, settings: settings.knobs, kind, threads};
  try { await fresh.ask('load', given, null, [wasm, network]); }
  catch (e) {
    fresh.end();
    throw e;
  }
  document.documentElement.dataset.run = `${kind}, ${threads} thread${threads > 1 ? 's' : ''}`;
  return fresh;
}

async function startBest() {
  try {
    const kind = wanted ?? (await gpuThere() ? 'webgpu' : 'wasm');
    if (kind === 'webgpu') return await start(kind).catch(() => start('wasm'));
    return await start('wasm');
  } finally { show($('#loading'), false); }
}

/** The worker with the network in it, loaded when the first photo comes; a failed try may be repeated. */
function ready() {
  helper ??= startBest().catch(e => {
    helper = null;
    throw new Error(`the network could not be loaded: ${e.message}`);
  });
  return helper;
}

/** The graphics card gave up: go on without it. The old worker stays for the photos that it holds. */
function withoutGpu() {
  helper = start('wasm').finally(() => show($('#loading'), false));
  return helper;
}

// ---- photos ----
const kinds = [
  [/^%PDF/, 'no photo but a PDF document: export its pictures first'],
  [/^PK\x03\x04/, 'no photo but a zip archive: unpack it first'],
  [/^(II\*\0|MM\0\*)/, 'a TIFF, which this browser cannot read: save it as PNG or JPEG first'],
  [/^....ftyp(heic|heix|mif1|hevc)/s, 'a HEIC photo, which this browser cannot read: save it as JPEG first'],
  [/^\xff\xd8\xff/, 'a damaged JPEG: copy or download it again'],
  [/^\x89PNG/, 'a damaged PNG: copy or download it again'],
  [/^\s*</, 'no photo but a web page or a drawing: download the photo itself']];

/** Width and height; an error with a sentence for people if the browser cannot read the file. */
async function measure(file, img, url) {
  if (file.size === 0) throw new Error('the file is empty: copy or download it again');
  if (file.size > settings.limits.bytes) throw new Error(`the file has ${Math.round(file.size/1e6)} MB, over the limit of ${settings.limits.bytes/1e6}: make the photo smaller first`);
  img.src = url;
  img.decoding = 'async';
  const loaded = await new Promise(resolve => {
    img.onload = () => resolve(true);
    img.onerror = () => resolve(false);
  });
  if (!loaded || file.type === 'image/svg+xml') {
    const head = String.fromCharCode(...new Uint8Array(await file.slice(0, 64).arrayBuffer()));
    throw new Error(kinds.find(([start]) => start.test(head))?.[1] ?? 'no photo, or of a kind that this browser cannot read: save it as JPEG or PNG first');
  }
  const pixels = img.naturalWidth*img.naturalHeight, most = settings.limits.pixels;
  if (pixels > most) throw new Error(`${img.naturalWidth} x ${img.naturalHeight} pixels are over the limit of ${most/1e6} megapixels: make the photo smaller first`);
  if (pixels === 0) throw new Error('an image without pixels');
}

let count = 0;
class Photo {
  constructor(file) {
    Object.assign(this, {file, name: `photo ${++count}`, ok: false, strength: 1});
    this.element = $('#photo').content.firstElementChild.cloneNode(true);
    this.url = URL.createObjectURL(file);
    this.title = file.name || 'pasted photo';
    $('h2', this.element).textContent = this.title;
    $('.save', this.element).setAttribute('aria-label', `Download ${this.title} in colour`);
    $('.remove', this.element).setAttribute('aria-label', `Remove ${this.title}`);
    this.say('waiting for its turn', 0);
    $('#photos').append(this.element);
    $('.remove', this.element).onclick = () => this.remove();
    $('.save', this.element).onclick = () => this.save();
    $('.compare input', this.element).oninput = e => $('.compare', this.element).style.setProperty('--cut', `${e.target.value}%`);
    $('.strength', this.element).oninput = e => this.restrain(Number(e.target.value));
    $('select', this.element).value = file.type === 'image/jpeg' ? 'image/jpeg' : 'image/png';
  }
  say(text, share) {
    $('.state', this.element).textContent = text;
    show($('progress', this.element), share !== undefined);
    if (share !== undefined) $('progress', this.element).value = share;
  }
  fail(e) {
    this.element.classList.add('failed');
    this.say(`Not coloured: ${e.message}`);
  }
  async work() {
    const img = $('img', this.element);
    try {
      await measure(this.file, img, this.url);
      this.say('waiting for the network', 0);
      await this.open(await ready());
    } catch (e) { this.fail(e); }
  }
  async open(worker) {
    const given = {photo: this.name, file: this.file}, onProgress = ({text, share}) => this.say(text, share);
    this.worker = worker;
    const {width, height, seconds} = await worker.ask('open', given, onProgress).catch(async e => {
      if (!e.gpu) throw e;
      this.worker = await withoutGpu();
      return this.worker.ask('open', given, onProgress);
    });
    const compare = $('.compare', this.element), what = this.title;
    compare.style.setProperty('--ratio', width/height);
    $('img', this.element).alt = `${what} as it was`;
    $('canvas', this.element).setAttribute('aria-label', `${what} in colour`);
    $('.compare input', this.element).setAttribute('aria-label', `How much of ${what} to show as it was, in percent`);
    this.seconds = seconds;
    this.size = `${width} x ${height} pixels`;
    await this.draw();
    this.ok = true;
    this.say(`${this.size}, ${seconds.toFixed(1)} s`);
    show(compare);
    this.element.classList.add('coloured');
  }
  async draw() {
    const {bitmap} = await this.worker.ask('preview', {photo: this.name, strength: this.strength});
    const canvas = $('canvas', this.element);
    Object.assign(canvas, {width: bitmap.width, height: bitmap.height});
    canvas.getContext('bitmaprenderer').transferFromImageBitmap(bitmap);
  }
  async restrain(strength) {                       // while one picture is drawn, only the newest wish is kept
    this.strength = strength;
    $('output', this.element).textContent = strength.toFixed(2);
    if (this.drawing) return;
    this.drawing = true;
    for (let drawn = null; drawn !== this.strength;) {
      drawn = this.strength;
      await this.draw().catch(e => this.fail(e));
    }
    this.drawing = false;
  }
  async save() {
    const button = $('.save', this.element), type = $('select', this.element).value;
    button.disabled = true;
    try {
      const given = {photo: this.name, strength: this.strength, type};
      const {blob, seconds} = await this.worker.ask('save', given, ({text, share}) => this.say(text, share));
      const link = Object.assign(document.createElement('a'), {href: URL.createObjectURL(blob)});
      link.download = `${this.title.replace(/\.[^.]*$/, '')}_color.${type === 'image/png' ? 'png' : 'jpg'}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      this.say(`${this.size}, ${this.seconds.toFixed(1)} s; written in ${seconds.toFixed(1)} s: ${link.download}`);
    } catch (e) { this.say(`Not written: ${e.message}`); }
    finally { button.disabled = false; }
  }
  remove() {
    const next = this.element.nextElementSibling ?? this.element.previousElementSibling;
    this.element.remove();
    photos.splice(photos.indexOf(this), 1);
    URL.revokeObjectURL(this.url);
    ($('.remove', next ?? document) ?? $('#files')).focus();
    showAll();
    this.worker?.ask('forget', {photo: this.name});
  }
}

const photos = [];
let turn = Promise.resolve();
const showAll = () => show($('#all'), photos.filter(p => p.ok).length > 1);

function add(files) {
  for (const file of files) {
    const photo = new Photo(file);
    photos.push(photo);
    turn = turn.then(() => photo.work()).then(showAll);
  }
}

// ---- ways in ----
function listen() {
  const drop = $('#drop'), over = yes => drop.classList.toggle('over', yes);
  $('#files').onchange = e => {
    add([...e.target.files]);
    e.target.value = '';
  };
  document.ondragover = e => {
    e.preventDefault();
    over(true);
  };
  document.ondragleave = e => over(e.relatedTarget !== null);
  document.ondrop = e => {
    e.preventDefault();
    over(false);
    add([...e.dataTransfer.files]);
  };
  document.onpaste = e => add([...e.clipboardData.files]);
  $('#all button').onclick = async () => { for (const photo of photos.filter(p => p.ok)) await photo.save(); };
}

const missing = [['WebAssembly', 'WebAssembly'], ['Worker', 'workers'], ['OffscreenCanvas', 'OffscreenCanvas'],
  ['DecompressionStream', 'DecompressionStream']].filter(([name]) => !(name in self)).map(([, words]) => words);
show($('#start'), false);
if (missing.length) {
  $('#problem').textContent = `This browser cannot run the network: it has no ${missing.join(', no ')}. A current Firefox, Chrome, Edge or Safari can.`;
  show($('#problem'));
} else {
  const load = settings.bytes[settings.network] + settings.bytes[settings.runtimes.wasm.binary];
  $('#weight').textContent = `${Math.round(load/1e6)} MB${inside(settings.network) ? ', inside this file' : ''}`;
  listen();
  show($('#drop'));
}
