// One task for ImapFlow: `node client.js TASK HOST PORT USER PASSWORD`. Prints JSON on success.
'use strict';

const { ImapFlow } = require('imapflow');

async function collect(client, range) {
	const found = [];
	for await (const mail of client.fetch(range, { uid: true, flags: true, envelope: true, bodyStructure: true })) {
		found.push({
			uid: mail.uid,
			flags: [...mail.flags].sort(),
			subject: mail.envelope.subject,
			type: mail.bodyStructure.type,
		});
	}
	return found;
}

const tasks = {
	// Lists every message of INBOX.
	async list(client) {
		return collect(client, '1:*');
	},
	// Flags what has "flow" in its subject, moves "flow 0" into Flow, deletes "flow 1", appends one.
	async work(client) {
		await client.mailboxCreate('Flow');
		const uids = await client.search({ subject: 'flow' }, { uid: true });
		await client.messageFlagsAdd(uids, ['\\Flagged', '$Flow'], { uid: true });
		await client.messageMove({ subject: 'flow 0' }, 'Flow', { uid: true });
		await client.messageDelete({ subject: 'flow 1' }, { uid: true });
		const appended = await client.append('Flow', 'Subject: appended by imapflow\r\n\r\nbody\r\n', ['\\Seen']);
		return { uids, appended: appended.uid };
	},
	// Waits in IDLE until the number of messages changes.
	async idle(client) {
		return new Promise((resolve, reject) => {
			setTimeout(() => reject(new Error('nothing heard')), 60000).unref();
			client.on('exists', (event) => resolve({ count: event.count }));
			process.stderr.write('idling\n');
			client.idle().catch(reject);
		});
	},
};

async function main() {
	const [task, host, port, user, pass] = process.argv.slice(2);
	const client = new ImapFlow({ host, port: Number(port), secure: false, doSTARTTLS: false, tls: { rejectUnauthorized: false }, auth: { user, pass }, logger: false });
	await client.connect();
	const lock = await client.getMailboxLock('INBOX');
	let result;
	try {
		result = await tasks[task](client);
	} finally {
		lock.release();
	}
	process.stdout.write(JSON.stringify(result) + '\n');
	await client.logout();
}

main().then(
	() => process.exit(0),
	(error) => {
		process.stderr.write(`${error.stack}\n${error.response ? JSON.stringify(error.response) : ''}\n`);
		process.exit(1);
	}
);
