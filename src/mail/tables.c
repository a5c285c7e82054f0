#include "mail/tables.h"

#include "base/pack.h"

struct bytes account_key(unsigned char at[4], uint32_t account)
{
	put_u32(at, account);
	return bytes_of(at, 4);
}

struct bytes mailbox_key(unsigned char at[MAILBOX_KEY_SIZE], uint32_t account, struct id128 mailbox)
{
	put_u32(at, account);
	memcpy(at + 4, mailbox.bytes, sizeof(mailbox.bytes));
	return bytes_of(at, MAILBOX_KEY_SIZE);
}

struct bytes message_key(
	unsigned char at[MESSAGE_KEY_SIZE], uint32_t account, struct id128 mailbox, uint32_t uid)
{
	mailbox_key(at, account, mailbox);
	put_u32(at + MAILBOX_KEY_SIZE, uid);
	return bytes_of(at, MESSAGE_KEY_SIZE);
}

struct bytes instance_key(
	unsigned char at[INSTANCE_KEY_SIZE], uint32_t account, struct stamp instance)
{
	put_u32(at, account);
	put_u64(at + 4, instance.modseq);
	put_u64(at + 12, instance.node);
	return bytes_of(at, INSTANCE_KEY_SIZE);
}

struct bytes modseq_key(unsigned char at[MODSEQ_KEY_SIZE], uint32_t account, struct id128 mailbox,
	uint64_t modseq, uint32_t uid)
{
	mailbox_key(at, account, mailbox);
	put_u64(at + MAILBOX_KEY_SIZE, modseq);
	put_u32(at + MAILBOX_KEY_SIZE + 8, uid);
	return bytes_of(at, MODSEQ_KEY_SIZE);
}

struct bytes sequence_key(unsigned char at[SEQUENCE_KEY_SIZE], uint32_t account, uint64_t sequence)
{
	put_u32(at, account);
	put_u64(at + 4, sequence);
	return bytes_of(at, SEQUENCE_KEY_SIZE);
}

struct bytes register_key(unsigned char at[REGISTER_KEY_SIZE], uint32_t account,
	enum record_kind kind, struct id128 mailbox, struct bytes key)
{
	assert(key.len <= REGISTER_KEY_SIZE_MAX);
	put_u32(at, account);
	at[4] = (unsigned char)kind;
	memcpy(at + 5, mailbox.bytes, sizeof(mailbox.bytes));
	if (key.len > 0)
		memcpy(at + 21, key.ptr, key.len);
	return bytes_of(at, 21 + key.len);
}

struct bytes grant_prefix(unsigned char at[GRANT_KEY_SIZE], struct bytes identifier)
{
	assert(identifier.len <= REGISTER_KEY_SIZE_MAX);
	if (identifier.len > 0)
		memcpy(at, identifier.ptr, identifier.len);
	at[identifier.len] = '\0';
	return bytes_of(at, identifier.len + 1);
}

struct bytes grant_key(unsigned char at[GRANT_KEY_SIZE], struct bytes identifier, uint32_t account,
	struct id128 mailbox)
{
	size_t len = grant_prefix(at, identifier).len;

	put_u32(at + len, account);
	memcpy(at + len + 4, mailbox.bytes, sizeof(mailbox.bytes));
	return bytes_of(at, len + 4 + sizeof(mailbox.bytes));
}

struct bytes seen_key(unsigned char at[SEEN_KEY_SIZE], uint32_t account, struct id128 owner,
	uint64_t modseq, struct stamp instance)
{
	mailbox_key(at, account, owner);
	put_u64(at + MAILBOX_KEY_SIZE, modseq);
	put_u64(at + MAILBOX_KEY_SIZE + 8, instance.modseq);
	put_u64(at + MAILBOX_KEY_SIZE + 16, instance.node);
	return bytes_of(at, SEEN_KEY_SIZE);
}

struct bytes seen_by_key(unsigned char at[SEEN_BY_KEY_SIZE], struct id128 owner,
	struct stamp instance, uint32_t account)
{
	memcpy(at, owner.bytes, sizeof(owner.bytes));
	put_u64(at + 16, instance.modseq);
	put_u64(at + 24, instance.node);
	put_u32(at + 32, account);
	return bytes_of(at, SEEN_BY_KEY_SIZE);
}

struct bytes name_key(
	unsigned char at[4 + MAILBOX_NAME_SIZE_MAX], uint32_t account, struct bytes name)
{
	assert(name.len <= MAILBOX_NAME_SIZE_MAX);
	put_u32(at, account);
	if (name.len > 0)
		memcpy(at + 4, name.ptr, name.len);
	return bytes_of(at, 4 + name.len);
}
