// SPDX-License-Identifier: GPL-2.0-or-later
// Xen Orchestra's own XAPI client drives the stub. Usage: node client.mjs URL (in a folder with node_modules)
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
const { createClient } = createRequire(process.cwd() + '/')('xen-api')

const xapi = createClient({
	url: process.argv[2],
	auth: { user: 'root', password: 'secret' },
	watchEvents: ['pool', 'task', 'VDI', 'SR', 'VM'],
})
await xapi.connect()
await xapi.objectsFetched

const sr = await xapi.call('pool.get_default_SR', await xapi.call('pool.get_all').then(all => all[0]))
const vdi = await xapi.call('VDI.create', {
	name_label: 'web1', name_description: '', SR: sr, virtual_size: 5000000, type: 'user',
	sharable: false, read_only: false, other_config: {},
})
assert.equal(Number(await xapi.call('VDI.get_virtual_size', vdi)), 6 << 20)
const snapshot = await xapi.callAsync('VDI.snapshot', vdi, {})
assert.equal(await xapi.call('VDI.get_snapshot_of', snapshot), vdi)
await assert.rejects(xapi.callAsync('VM.start', await xapi.call('VM.get_by_name_label', 'Other install media')
	.then(all => all[0]), false, false), { code: 'VM_IS_TEMPLATE' })
await assert.rejects(xapi.call('VDI.get_record', 'OpaqueRef:none'), { code: 'HANDLE_INVALID' })
await xapi.callAsync('VDI.destroy', snapshot)
const deadline = Date.now() + 30000
while (Object.values(xapi.objects.all).some(object => object.$ref === snapshot) || !xapi.getObject(vdi, null)) {
	assert(Date.now() < deadline, 'events do not arrive')
	await new Promise(resolve => setTimeout(resolve, 20))
}
console.log('xen-api: all as with a real pool')
await xapi.disconnect()
process.exit(0)
