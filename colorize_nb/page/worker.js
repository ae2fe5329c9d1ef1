// The worker: everything that takes time. It answers every message {id, ...} with {id, progress}s and one {id, done} or {id, failed}.
import {Shrink, lightness, mirror, multiple, paint, prepare, sidesSeen, soften} from './colorize.js';

const photos = new Map();   // name given by the page -> {file, width, height, answer, small}
let runtime, session, knobs, gpu;

class Refusal extends Error {}                                            // its text is for people
const grid = (width, height) => new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
const stripRows = width => Math.max(1, Math.floor(500_000/width));        // half a megapixel at a time
const turn = () => new Promise(resolve => setTimeout(resolve));           // lets messages through

// ---- the network ----
async function load({module, wasm, network, settings, kind, threads}) {
  knobs = settings;
  gpu = kind === 'webgpu';
  runtime = module ? await import(module) : self.ort;   // in the page in one file it is here already
  Object.assign(runtime.env.wasm, {wasmBinary: wasm, numThreads: threads});
  runtime.env.logLevel = 'error';
  const options = {executionProviders: [gpu ? 'webgpu' : 'wasm'], graphOptimizationLevel: 'all', logSeverityLevel: 3};
  session = await runtime.InferenceSession.create(new Uint8Array(network), options);
  if (gpu) await ask(new Float32Array(multiple**2), multiple, multiple);   // may turn out not to work
  return {kind, threads};
}

async function ask(L, w, h) {
  const {ab} = await session.run({L: new runtime.Tensor('float32', L, [1, 1, h, w])});
  return (await ab.getData()).slice();
}

// ---- photos in ----
async function decode({file, turn}) {
  const bitmap = await createImageBitmap(file, {premultiplyAlpha: 'none', imageOrientation: 'from-image'})
    .catch(() => { throw new Refusal('the file is cut off or damaged: copy or download it again'); });
  if (turn === 1) return bitmap;
  const {width: w, height: h} = bitmap, context = turn < 5 ? grid(w, h) : grid(h, w);
  context.setTransform(...{2: [-1, 0, 0, 1, w, 0], 3: [-1, 0, 0, -1, w, h], 4: [1, 0, 0, -1, 0, h], 5: [0, 1, 1, 0, 0, 0],
    6: [0, 1, -1, 0, h, 0], 7: [0, -1, -1, 0, h, w], 8: [0, -1, 1, 0, 0, w]}[turn]);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.canvas.transferToImageBitmap();
}

/** The pixels under transparency, which a canvas forgets; null where the browser cannot tell them. */
async function hidden(file, width, height) {
  if (typeof ImageDecoder === 'undefined' || !(await ImageDecoder.isTypeSupported(file.type))) return null;
  const decoder = new ImageDecoder({data: await file.arrayBuffer(), type: file.type, premultiplyAlpha: 'none'});
  try {
    const {image} = await decoder.decode();
    if (image.displayWidth !== width || image.displayHeight !== height) return null;   // turned by EXIF
    const order = image.format.slice(0, 3), {primaries, transfer} = image.colorSpace;
    if (!['RGB', 'BGR'].includes(order) || primaries !== 'bt709' || transfer !== 'iec61966-2-1') return null;   // not sRGB bytes
    const rgba = new Uint8ClampedArray(4*width*height), [plane] = await image.copyTo(rgba);
    image.close();
    if (order === 'BGR') for (let p = 0; p < rgba.length; p += 4) [rgba[p], rgba[p + 2]] = [rgba[p + 2], rgba[p]];
    return plane.stride === 4*width ? rgba : null;
  } catch { return null; }
  finally { decoder.close(); }
}

/** Calls `use(rgba, top)` for strip after strip of a photo, each RGBA bytes; closes the bitmap. */
async function eachStrip(photo, bitmap, use) {
  const {width, height} = bitmap;
  const rows = stripRows(width), context = grid(width, Math.min(rows, height));
  photo.bare ??= photo.file.type === 'image/jpeg' || !seeThrough(photo.small);
  const exact = photo.bare || photo.turn > 1 ? null : await hidden(photo.file, width, height);
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    if (exact) await use(exact.subarray(4*width*top, 4*width*(top + count)), top);
    else {
      context.clearRect(0, 0, width, rows);
      context.drawImage(bitmap, 0, top, width, count, 0, 0, width, count);
      await use(context.getImageData(0, 0, width, count).data, top);
    }
  }
  bitmap.close();
}

const seeThrough = ({data}) => data.some((v, i) => i % 4 === 3 && v < 255);

/** The photo at the size of a screen: RGBA bytes. */
function onScreen(bitmap, side) {
  const scale = Math.min(1, side/Math.max(bitmap.width, bitmap.height));
  const [w, h] = [bitmap.width, bitmap.height].map(s => Math.max(1, Math.round(s*scale)));
  const context = grid(w, h);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, w, h);
  return context.getImageData(0, 0, w, h);
}

async function open({photo: name, file}, progress) {
  const began = performance.now();
  progress('reading the photo', 0);
  const source = await lying(file), bitmap = await decode(source), {width, height} = bitmap;
  const photo = {...source, width, height, small: onScreen(bitmap, knobs.screen)};
  const sides = sidesSeen(width, height, knobs), [w, h] = sides, shrink = new Shrink(width, height, sides);
  await eachStrip(photo, bitmap, (rgba, top) => { shrink.add(rgba); progress('reading the photo', 0.3*top/height); });
  const L = soften(lightness(shrink.done()), w, h, knobs);
  progress('the network looks at the photo', 0.3);
  await turn();
  const ab = await ask(L, w, h);
  progress('the network looks at its mirror image', 0.65);
  await turn();
  const mirrored = mirror(await ask(mirror(L, w), w, h), w);
  photo.answer = prepare(L, ab.map((v, i) => (v + mirrored[i])/2), w, h, knobs);
  photos.set(name, photo);
  return {width, height, seconds: (performance.now() - began)/1000};
}

async function preview({photo: name, strength}) {
  const {small, answer} = photos.get(name), {width, height} = small;
  const image = new ImageData(small.data.slice(), width, height);
  paint(image.data, 0, width, height, answer, strength*knobs.saturation);
  return {bitmap: await createImageBitmap(image)};
}

// ---- photos out ----
async function save({photo: name, strength, type}, progress) {
  const began = performance.now(), photo = photos.get(name), {file, width, height, answer} = photo;
  const start = file.type === 'image/jpeg' ? file.slice(0, 400_000) : file;   // others have it anywhere
  const exif = exifOf(new Uint8Array(await start.arrayBuffer()));
  const writer = type === 'image/png' ? new PngWriter(width, height, photo.bare ? 3 : 4, exif) : new JpegWriter(width, height, exif);
  await eachStrip(photo, await decode(photo), async (rgba, top) => {
    paint(rgba, top, width, height, answer, strength*knobs.saturation);
    await writer.add(rgba, top);
    progress('colouring the photo at its full size', 0.9*top/height);
  });
  progress('writing the file', 0.9);
  return {blob: await writer.done(), seconds: (performance.now() - began)/1000};
}

class JpegWriter {
  constructor(width, height, exif) {
    Object.assign(this, {width, exif, canvas: new OffscreenCanvas(width, height)});
    this.context = this.canvas.getContext('2d', {alpha: false});
    if (!this.context) throw new Refusal('too large for a JPEG of this browser: save it as PNG');
    this.context.fillStyle = 'white';                                      // JPEG has no transparency
  }
  async add(rgba, top) {
    const count = rgba.length/4/this.width;
    this.context.fillRect(0, top, this.width, count);
    const strip = await createImageBitmap(new ImageData(rgba, this.width, count));
    this.context.drawImage(strip, 0, top);
    strip.close();
  }
  async done() {
    const blob = await this.canvas.convertToBlob({type: 'image/jpeg', quality: knobs.quality}).catch(() => null);
    if (!blob) throw new Refusal('too large for a JPEG of this browser: save it as PNG');
    if (!this.exif || this.exif.length > 65_000) return blob;                // a block of a JPEG has 16 bits of length
    const length = this.exif.length + 8, head = [0xff, 0xd8, 0xff, 0xe1, length >> 8, length & 255, ...exifName];
    return new Blob([new Uint8Array(head), this.exif, blob.slice(2)], {type: 'image/jpeg'});
  }
}

const crcOfByte = Uint32Array.from({length: 256}, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});
const crc = bytes => {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = crcOfByte[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return ~c >>> 0;
};

/** PNG row by row: no canvas, so no limit of size, and the colours under transparency stay. */
class PngWriter {
  constructor(width, height, channels, exif) {
    Object.assign(this, {width, height, channels, exif, parts: [], above: new Uint8Array(channels*width)});
    this.deflate = new CompressionStream('deflate');
    this.sink = this.deflate.writable.getWriter();
    this.reading = this.read();
  }
  async read() {
    const reader = this.deflate.readable.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) this.parts.push(this.chunk('IDAT', next.value));
  }
  chunk(kind, data) {
    const bytes = new Uint8Array(data.length + 12), view = new DataView(bytes.buffer);
    view.setUint32(0, data.length);
    for (let i = 0; i < 4; i++) bytes[4 + i] = kind.charCodeAt(i);
    bytes.set(data, 8);
    view.setUint32(data.length + 8, crc(bytes.subarray(4, data.length + 8)));
    return bytes;
  }
  async add(rgba) {
    const {channels: n, width} = this, size = n*width, count = rgba.length/4/width, out = new Uint8Array(count*(size + 1));
    let {above} = this;
    for (let y = 0, p = 0, o = 0; y < count; y++) {
      const row = new Uint8Array(size);
      for (let i = 0; i < size; i += n, p += 4) for (let k = 0; k < n; k++) row[i + k] = rgba[p + k];
      out[o++] = 4;                                                        // the filter of Paeth
      for (let i = 0; i < size; i++) {
        const a = i < n ? 0 : row[i - n], b = above[i], c = i < n ? 0 : above[i - n];
        const pa = Math.abs(b - c), pb = Math.abs(a - c), pc = Math.abs(a + b - 2*c);
        out[o++] = row[i] - (pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
      }
      above = row;
    }
    this.above = above;
    await this.sink.write(out);
  }
  async done() {
    await this.sink.close();
    await this.reading;
    const head = new DataView(new ArrayBuffer(13));
    head.setUint32(0, this.width);
    head.setUint32(4, this.height);
    head.setUint8(8, 8);                                                   // bits
    head.setUint8(9, this.channels === 4 ? 6 : 2);                         // kind: with or without opacity
    const exif = this.exif ? [this.chunk('eXIf', this.exif)] : [];
    const start = [new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]), this.chunk('IHDR', new Uint8Array(head.buffer)), ...exif];
    return new Blob([...start, ...this.parts, this.chunk('IEND', new Uint8Array(0))], {type: 'image/png'});
  }
}

// ---- EXIF of JPEG, PNG and WebP: when and with what it was taken stays with the photo ----
const exifName = [69, 120, 105, 102, 0, 0];   // 'Exif', two zeros
const word = (bytes, at) => String.fromCharCode(...bytes.subarray(at, at + 4));
const named = (bytes, at) => exifName.every((v, i) => bytes[at + i] === v);

/** Where the EXIF block of a file lies: its first byte and the one behind it; null if there is none. */
function exifPlace(bytes) {
  const file = new DataView(bytes.buffer);
  if (file.getUint16(0) === 0xffd8)
    for (let at = 2; file.getUint8(at) === 0xff && file.getUint8(at + 1) !== 0xda; at += 2 + file.getUint16(at + 2))
      if (file.getUint16(at) === 0xffe1 && named(bytes, at + 4)) return [at + 10, at + 2 + file.getUint16(at + 2)];
  if (file.getUint32(0) === 0x89504e47)                                    // PNG: length, name, data, checksum
    for (let at = 8, length; at < bytes.length; at += 12 + length) {
      length = file.getUint32(at);
      if (word(bytes, at + 4) === 'eXIf') return [at + 8, at + 8 + length];
    }
  if (word(bytes, 0) === 'RIFF' && word(bytes, 8) === 'WEBP')              // WebP: name, length, data, even
    for (let at = 12, length; at < bytes.length; at += 8 + length + (length & 1)) {
      length = file.getUint32(at + 4, true);
      if (word(bytes, at) === 'EXIF') return [at + 8 + (named(bytes, at + 8) ? 6 : 0), at + 8 + length];
    }
  return null;
}

/** Writes into an EXIF block that the photo is upright; how it was turned, 1 to 8, and where the first directory ends. */
function upright(exif) {
  const view = new DataView(exif.buffer, exif.byteOffset, exif.length), little = view.getUint16(0) === 0x4949;
  const first = view.getUint32(4, little), end = first + 2 + 12*view.getUint16(first, little);
  let turn = 1;
  for (let tag = first + 2; tag < end; tag += 12)
    if (view.getUint16(tag, little) === 0x0112) {
      turn = view.getUint16(tag + 8, little);
      view.setUint16(tag + 8, 1, little);
    }
  return {turn, view, little, end};
}

/** What `use` makes of the EXIF block of a file; null if there is none that can be read. */
function withExif(bytes, use) {
  try {
    const place = exifPlace(bytes);
    return place && use(bytes.subarray(...place));
  } catch (e) { if (!(e instanceof RangeError)) throw e; }                 // offsets that lead out of a damaged block
  return null;
}

/** The EXIF block of a file, upright and without its gray thumbnail. */
const exifOf = bytes => withExif(bytes, block => {
  const exif = block.slice(), {view, little, end} = upright(exif);
  view.setUint32(end, 0, little);                                          // no second directory: the thumbnail is left behind
  return exif;
});

/** Browsers turn each JPEG as its EXIF says, but not each PNG and WebP: the file without that word, and how to turn it. */
async function lying(file) {
  if (!['image/png', 'image/webp'].includes(file.type)) return {file, turn: 1};
  const bytes = new Uint8Array(await file.arrayBuffer()), found = withExif(bytes, upright);
  return found && found.turn > 1 && found.turn < 9 ? {file: new File([bytes], file.name, {type: file.type}), turn: found.turn} : {file, turn: 1};
}

// ---- messages ----
const jobs = {load, open, preview, save, forget: ({photo}) => { photos.delete(photo); }};
let last = Promise.resolve();
self.onmessage = ({data: {id, job, ...given}}) => {
  last = last.then(async () => {
    try {
      const done = await jobs[job](given, (text, share) => self.postMessage({id, progress: {text, share}}));
      self.postMessage({id, done}, done?.bitmap ? [done.bitmap] : []);
    } catch (e) {
      const memory = e instanceof RangeError && /alloc|length|memory/i.test(e.message);
      const text = e instanceof Refusal ? e.message : memory ? 'too large for the memory of this browser: make the photo smaller first'
        : `this did not work: ${e?.message ?? e}`;
      self.postMessage({id, failed: {text, gpu: gpu && !(e instanceof Refusal)}});
    }
  });
};
