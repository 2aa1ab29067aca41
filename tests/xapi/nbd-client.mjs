// SPDX-License-Identifier: GPL-2.0-or-later
// Xen Orchestra's NBD client reads a whole export. Usage: node nbd-client.mjs HOST PORT EXPORT FILE
import assert from 'node:assert/strict'
import { createWriteStream } from 'node:fs'
import { createRequire } from 'node:module'
const module = createRequire(process.cwd() + '/')('@vates/nbd-client')

const [address, port, exportname, path] = process.argv.slice(2)
const NbdClient = module.default ?? module
const client = new NbdClient({ address, port: Number(port), exportname })
await client.connect()
const file = createWriteStream(path), piece = 65536
assert.equal(Number(client.exportSize) % piece, 0)
for (let i = 0; i * piece < Number(client.exportSize); i++) {
	const block = await client.readBlock(i, piece)
	assert.equal(block.length, piece)
	if (!file.write(block)) await new Promise(resolve => file.once('drain', resolve))
}
await new Promise(resolve => file.end(resolve))
await client.disconnect()
console.log(`@vates/nbd-client: ${client.exportSize} bytes read`)
process.exit(0)
