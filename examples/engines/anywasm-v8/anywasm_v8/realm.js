// The JavaScript side of one thread's V8: an expression whose value is a function of Python's `host`.
//
// Modules and instances are known by numbers, so that Python holds no handles but to these
// functions. 64-bit integers cross as decimal text, bytes as text of one character each, names as
// JSON in ASCII (STPyV8 damages what is beyond 16 bits). What fails gives null, and failure() says
// why.
(host) => {
  const RAISED = {}; // thrown through a guest whose host function raised an exception in Python
  const modules = new Map();
  const instances = new Map();
  let failure = "";

  const attempt = (action) => {
    try {
      const result = action();
      return result === undefined ? 0 : result;
    } catch (error) {
      failure = error === RAISED ? "" : String(error);
      return null;
    }
  };
  const bytes = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const toPython = (value) => (typeof value === "bigint" ? value.toString() : value);
  const toGuest = (kind, value) => (kind === "i64" ? BigInt(value) : value);
  const kindsIn = (text) => (text ? text.split(" ") : []);
  const exported = (id, name) => instances.get(id).exports[JSON.parse(name)];

  // A host function; `kinds` are those of its results.
  const hostFunction = (id, index, kinds) => (...values) => {
    const answer = host(id, index, ...values.map(toPython));
    if (answer === null) throw RAISED;
    if (kinds.length < 2) return kinds.length ? toGuest(kinds[0], answer) : undefined;
    return kinds.map((kind, place) => toGuest(kind, answer[place]));
  };

  const callable = (native, params) => {
    const kinds = kindsIn(params);
    return (...values) =>
      attempt(() => {
        const result = native(...values.map((value, place) => toGuest(kinds[place], value)));
        return Array.isArray(result) ? result.map(toPython) : toPython(result);
      });
  };

  return {
    failure: () => failure,
    validate: (text) => WebAssembly.validate(bytes(text)),
    compile: (id, text) => attempt(() => void modules.set(id, new WebAssembly.Module(bytes(text)))),
    dropModule: (id) => modules.delete(id),
    dropInstance: (id) => instances.delete(id),

    // `kinds` has a line for each import: what it returns.
    instantiate: (id, module, kinds) =>
      attempt(() => {
        const imports = Object.create(null);
        const results = kinds.split("\n");
        WebAssembly.Module.imports(modules.get(module)).forEach((wanted, index) => {
          imports[wanted.module] ??= Object.create(null);
          imports[wanted.module][wanted.name] ??= hostFunction(id, index, kindsIn(results[index]));
        });
        instances.set(id, new WebAssembly.Instance(modules.get(module), imports));
      }),

    bind: (id, name, params) => callable(exported(id, name), params),
    // As bind, with bits in the place of floats: by way of a module that reinterprets them.
    bindBits: (id, name, params, adapter) => {
      const module = new WebAssembly.Module(bytes(adapter));
      const instance = new WebAssembly.Instance(module, { "": { f: exported(id, name) } });
      return callable(instance.exports.f, params);
    },

    getGlobal: (id, name) => toPython(exported(id, name).value),
    setGlobal: (id, name, kind, value) => void (exported(id, name).value = toGuest(kind, value)),

    size: (id, name) => exported(id, name).buffer.byteLength,
    grow: (id, name, pages) => attempt(() => exported(id, name).grow(pages)),
    read: (id, name, at, size) => {
      const view = new Uint8Array(exported(id, name).buffer, at, size);
      let text = "";
      for (let from = 0; from < size; from += 8192) {
        text += String.fromCharCode.apply(null, view.subarray(from, from + 8192));
      }
      return text;
    },
    write: (id, name, at, text) => {
      const view = new Uint8Array(exported(id, name).buffer, at, text.length);
      for (let place = 0; place < text.length; place++) view[place] = text.charCodeAt(place);
    },
  };
}
