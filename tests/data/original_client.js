// A client as the original package's own is: it connects to `localhost`, sends `payload: 0` where there is none, cuts
// what it receives at the separator, and matches replies by type and queryIndex. Prints one line for each reply.
//
//   node original_client.js PORT COUNT TYPE...
'use strict';
const net = require('net');

const SEPARATOR = '🦀';
const [port, count, ...types] = process.argv.slice(2);
const waiting = new Map();
let received = Buffer.alloc(0);

const socket = net.createConnection({ port: Number(port), host: 'localhost' }, () => {
  for (let queryIndex = 0; queryIndex < Number(count); queryIndex++) {
    for (const type of types) {
      waiting.set(type + queryIndex, type);
      socket.write(JSON.stringify({ type, queryIndex, payload: 0 }) + SEPARATOR);
    }
  }
});

socket.on('data', (bytes) => {
  received = Buffer.concat([received, bytes]);
  for (let end = received.indexOf(SEPARATOR); end >= 0; end = received.indexOf(SEPARATOR)) {
    const { type, queryIndex, resultJob } = JSON.parse(received.subarray(0, end).toString());
    received = received.subarray(end + Buffer.byteLength(SEPARATOR));
    if (!waiting.delete(type + queryIndex)) {
      throw new Error('a reply to nothing: ' + type + ' ' + queryIndex);
    }
    console.log(type, queryIndex, JSON.stringify(resultJob));
  }
  if (waiting.size === 0) socket.end();
});
socket.on('error', (error) => { throw error; });
socket.on('close', () => process.exit(waiting.size === 0 ? 0 : 1));
