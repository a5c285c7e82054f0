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

function connection([host, port, user, pass]) {
	return new ImapFlow({ host, port: Number(port), secure: false, doSTARTTLS: false, tls: { rejectUnauthorized: false }, auth: { user, pass }, logger: false });
}

// Follows one mailbox, INBOX if it is gone, as a mail program does: in IDLE between its looks, with a
// new connection when one is lost. Prints what it sees, each time that it looks, as a line of JSON.
async function follow(where, mailbox) {
	for (;;) {
		const client = connection(where);
		const closed = new Promise((resolve) => client.on('close', resolve));
		client.on('error', () => {});
		await client.connect();
		const names = (await client.list()).map((entry) => entry.path);
		const lock = await client.getMailboxLock(names.includes(mailbox) ? mailbox : 'INBOX');
		const look = async () => {
			const found = await collect(client, '1:*').catch(() => null);
			if (found)
				process.stdout.write(JSON.stringify({ path: client.mailbox.path, uidvalidity: String(client.mailbox.uidValidity), subjects: found.map((mail) => mail.subject).sort() }) + '\n');
			client.idle().catch(() => {});
		};
		client.on('exists', look);
		await look();
		await closed;
		lock.release();
	}
}

async function main() {
	const [task, ...where] = process.argv.slice(2);
	if (task === 'follow')
		return follow(where, where[4]);
	const client = connection(where);
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
