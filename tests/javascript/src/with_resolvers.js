// js-libp2p is written for Node.js 22; this is all that 20 lacks of it.

Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((...functions) => { [resolve, reject] = functions })
  return { promise, resolve, reject }
}
