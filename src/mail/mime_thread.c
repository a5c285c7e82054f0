/*
 * The steps are numbered as in RFC 5256, 3 (REFERENCES). Nothing recurses: threads can be as deep
 * as the mailbox is long.
 *
 * A link is refused where it would close a loop. That is the case only if the child is above the
 * parent, and it can be above it only if both are in one tree; trees are told apart by `set`
 * (union-find), which may say "one tree" of two that were one. Only then ancestors are walked, and
 * not for more than WALK_MAX steps: what is deeper counts as a loop, so that messages that were
 * made to be costly are not.
 */
#include "mail/mime_thread.h"

#include "base/map.h"
#include "base/mem.h"

#include <stdlib.h>

#define WALK_MAX 10000

struct threading {
	struct arena *arena;
	struct map ids; /* message id -> its struct mime_thread */
	struct mime_thread **nodes;
	size_t count;
	size_t room;
	struct mime_thread root; /* the parent of all threads while they are built */
};

static struct mime_thread *node_new(
	struct threading *threading, const struct mime_thread_message *message)
{
	struct mime_thread *node = arena_zalloc(threading->arena, sizeof(*node));

	node->message = message;
	node->set = node;
	node->index = SIZE_MAX;
	mem_grow((void **)&threading->nodes, &threading->room, threading->count + 1,
		sizeof(struct mime_thread *));
	threading->nodes[threading->count++] = node;
	return node;
}

/* ---- step 1: linking ---- */

static struct mime_thread *set_of(struct mime_thread *node)
{
	while (node->set != node) {
		node->set = node->set->set;
		node = node->set;
	}
	return node;
}

static bool is_above(const struct mime_thread *above, const struct mime_thread *node)
{
	for (size_t steps = 0; node != NULL; node = node->parent, steps++) {
		if (node == above || steps == WALK_MAX)
			return true;
	}
	return false;
}

static void adopt(struct mime_thread *parent, struct mime_thread *child)
{
	child->parent = parent;
	child->previous = NULL;
	child->next = parent->children;
	if (child->next != NULL)
		child->next->previous = child;
	parent->children = child;
}

static void link_cut(struct mime_thread *child)
{
	if (child->parent == NULL)
		return;
	if (child->previous != NULL)
		child->previous->next = child->next;
	else
		child->parent->children = child->next;
	if (child->next != NULL)
		child->next->previous = child->previous;
	child->next = child->previous = child->parent = NULL;
}

/* Takes the first child off, to be adopted by another. */
static struct mime_thread *take_child(struct mime_thread *parent)
{
	struct mime_thread *child = parent->children;

	link_cut(child);
	return child;
}

/* `child` has no parent. */
static void link_make(struct mime_thread *parent, struct mime_thread *child)
{
	struct mime_thread *parent_set = set_of(parent), *child_set = set_of(child);

	if (parent_set == child_set && is_above(child, parent))
		return;
	child_set->set = parent_set;
	adopt(parent, child);
}

static struct mime_thread *node_of_id(struct threading *threading, const struct digest *id)
{
	struct bytes key = bytes_of(id, sizeof(*id));
	struct mime_thread *node = map_get(&threading->ids, key);

	if (node == NULL) {
		node = node_new(threading, NULL);
		map_put(&threading->ids, key, node);
	}
	return node;
}

/* A message without an id, or with one that another has already, gets one of its own. */
static struct mime_thread *node_of_message(
	struct threading *threading, const struct mime_thread_message *message)
{
	struct mime_thread *node = NULL;

	if (message->has_id)
		node = node_of_id(threading, &message->id);
	if (node == NULL || node->message != NULL)
		return node_new(threading, message);
	node->message = message;
	return node;
}

static void message_link(struct threading *threading, const struct mime_thread_message *message,
	struct mime_thread *node)
{
	struct mime_thread *parent = NULL;

	for (size_t i = 0; i < message->reference_count; i++) {
		struct mime_thread *child = node_of_id(threading, &message->references[i]);

		if (parent != NULL && child->parent == NULL)
			link_make(parent, child);
		parent = child;
	}
	if (parent != NULL && node->parent == parent)
		return;
	/* What others said of this message's parent gives way to what it says itself. */
	link_cut(node);
	if (parent != NULL)
		link_make(parent, node);
}

static void link_all(
	struct threading *threading, const struct mime_thread_message *messages, size_t count)
{
	struct mime_thread **nodes = mem_alloc((count > 0 ? count : 1) * sizeof(*nodes));

	for (size_t i = 0; i < count; i++) {
		nodes[i] = node_of_message(threading, &messages[i]);
		nodes[i]->index = i;
	}
	for (size_t i = 0; i < count; i++)
		message_link(threading, &messages[i], nodes[i]);
	free(nodes);
}

/* ---- steps 2 and 3: pruning ---- */

static void root_gather(struct threading *threading)
{
	for (size_t i = 0; i < threading->count; i++) {
		struct mime_thread *node = threading->nodes[i];

		if (node->parent == NULL)
			adopt(&threading->root, node);
	}
}

/* Puts the nodes into an order in which parents are before their children. */
static void parents_first(struct threading *threading)
{
	size_t count = 0;

	for (struct mime_thread *node = threading->root.children; node != NULL; node = node->next)
		threading->nodes[count++] = node;
	for (size_t i = 0; i < count; i++) {
		for (struct mime_thread *node = threading->nodes[i]->children; node != NULL;
			node = node->next)
			threading->nodes[count++] = node;
	}
	threading->count = count;
}

/* Takes the place of those children that are no messages by their own children. */
static void children_prune(struct mime_thread *parent, bool is_root)
{
	struct mime_thread *child = parent->children, *next;

	parent->children = NULL;
	for (; child != NULL; child = next) {
		bool is_single = child->children != NULL && child->children->next == NULL;

		next = child->next;
		if (child->message != NULL || (is_root && child->children != NULL && !is_single)) {
			adopt(parent, child);
			continue;
		}
		while (child->children != NULL)
			adopt(parent, take_child(child));
	}
}

static void prune(struct threading *threading)
{
	for (size_t i = threading->count; i > 0; i--)
		children_prune(threading->nodes[i - 1], false);
	children_prune(&threading->root, true);
	parents_first(threading);
}

/* ---- steps 4 and 6: sorting ---- */

/* The message that a thread is sorted and named by. */
static const struct mime_thread *face_of(const struct mime_thread *node)
{
	return node->message != NULL ? node : node->children;
}

static int sent_order(const void *a, const void *b)
{
	const struct mime_thread *x = face_of(*(struct mime_thread *const *)a);
	const struct mime_thread *y = face_of(*(struct mime_thread *const *)b);

	if (x->message->sent_date != y->message->sent_date)
		return x->message->sent_date < y->message->sent_date ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int latest_order(const void *a, const void *b)
{
	const struct mime_thread *x = *(struct mime_thread *const *)a;
	const struct mime_thread *y = *(struct mime_thread *const *)b;

	if (x->latest != y->latest)
		return x->latest < y->latest ? -1 : 1;
	return sent_order(a, b);
}

static void children_sort(struct mime_thread *parent, int (*order)(const void *a, const void *b))
{
	struct mime_thread **list = NULL;
	size_t count = 0, room = 0;

	if (parent->children == NULL || parent->children->next == NULL)
		return;
	for (struct mime_thread *node = parent->children; node != NULL; node = node->next) {
		mem_grow((void **)&list, &room, count + 1, sizeof(struct mime_thread *));
		list[count++] = node;
	}
	qsort(list, count, sizeof(struct mime_thread *), order);
	parent->children = NULL;
	for (size_t i = count; i > 0; i--)
		adopt(parent, list[i - 1]);
	free(list);
}

static void sort_all(struct threading *threading)
{
	for (size_t i = threading->count; i > 0; i--)
		children_sort(threading->nodes[i - 1], sent_order);
	children_sort(&threading->root, sent_order);
}

/* REFS: by the latest arrival in each thread. */
static void sort_by_latest(struct threading *threading)
{
	for (size_t i = threading->count; i > 0; i--) {
		struct mime_thread *node = threading->nodes[i - 1];

		if (node->message != NULL && node->message->arrived > node->latest)
			node->latest = node->message->arrived;
		if (node->latest > node->parent->latest)
			node->parent->latest = node->latest;
	}
	children_sort(&threading->root, latest_order);
}

/* ---- step 5: gathering by subject ---- */

static struct bytes subject_of(const struct mime_thread *node)
{
	return face_of(node)->message->subject;
}

static bool is_reply(const struct mime_thread *node)
{
	return node->message != NULL && node->message->is_reply;
}

static void subjects_note(struct threading *threading, struct map *subjects)
{
	for (struct mime_thread *node = threading->root.children; node != NULL; node = node->next) {
		struct bytes subject = subject_of(node);
		const struct mime_thread *noted = map_get(subjects, subject);

		if (subject.len == 0)
			continue;
		if (noted == NULL ||
			(noted->message != NULL &&
				(node->message == NULL || (is_reply(noted) && !is_reply(node)))))
			map_put(subjects, subject, node);
	}
}

/* Both become children of a new thread's empty top, which takes the place of the noted one. */
static void join_as_siblings(struct threading *threading, struct map *subjects,
	struct mime_thread *noted, struct mime_thread *node)
{
	struct mime_thread *top = node_new(threading, NULL);
	struct bytes subject = subject_of(noted);

	link_cut(noted);
	adopt(top, noted);
	adopt(top, node);
	adopt(&threading->root, top);
	map_put(subjects, subject, top);
}

/* `node` was taken off the root. */
static void thread_merge(struct threading *threading, struct map *subjects,
	struct mime_thread *noted, struct mime_thread *node)
{
	if (noted->message == NULL && node->message == NULL) {
		while (node->children != NULL)
			adopt(noted, take_child(node));
	} else if (noted->message == NULL || (is_reply(node) && !is_reply(noted))) {
		adopt(noted, node);
	} else {
		join_as_siblings(threading, subjects, noted, node);
	}
}

static void subjects_gather(struct threading *threading)
{
	struct map subjects = { 0 };
	struct mime_thread **threads = NULL;
	size_t count = 0, room = 0;

	subjects_note(threading, &subjects);
	for (struct mime_thread *node = threading->root.children; node != NULL; node = node->next) {
		mem_grow((void **)&threads, &room, count + 1, sizeof(struct mime_thread *));
		threads[count++] = node;
	}
	for (size_t i = 0; i < count; i++) {
		struct mime_thread *node = threads[i];
		struct bytes subject = subject_of(node);
		struct mime_thread *noted = map_get(&subjects, subject);

		/* The noted one may be in a joint thread by now, which is noted in its place. */
		if (subject.len == 0 || noted == node || node->parent != &threading->root)
			continue;
		link_cut(node);
		thread_merge(threading, &subjects, noted, node);
	}
	free(threads);
	map_deinit(&subjects);
}

/* ---- ORDEREDSUBJECT ---- */

static int subject_order(const void *a, const void *b)
{
	const struct mime_thread *x = *(struct mime_thread *const *)a;
	const struct mime_thread *y = *(struct mime_thread *const *)b;
	int order = bytes_compare(x->message->subject, y->message->subject);

	return order != 0 ? order : sent_order(a, b);
}

static void order_by_subject(
	struct threading *threading, const struct mime_thread_message *messages, size_t count)
{
	struct mime_thread *first = NULL;

	for (size_t i = 0; i < count; i++)
		node_new(threading, &messages[i])->index = i;
	if (count > 0)
		qsort(threading->nodes, count, sizeof(struct mime_thread *), subject_order);
	for (size_t i = 0; i < count; i++) {
		struct mime_thread *node = threading->nodes[i];

		if (first != NULL && bytes_equal(subject_of(first), subject_of(node))) {
			adopt(first, node);
			continue;
		}
		first = node;
		adopt(&threading->root, node);
	}
	sort_all(threading);
}

struct mime_thread *mime_thread_build(enum mime_thread_algorithm algorithm,
	const struct mime_thread_message *messages, size_t count, struct arena *arena)
{
	struct threading threading = { .arena = arena };

	if (algorithm == MIME_THREAD_ORDEREDSUBJECT) {
		order_by_subject(&threading, messages, count);
	} else {
		link_all(&threading, messages, count);
		root_gather(&threading);
		parents_first(&threading);
		prune(&threading);
		sort_all(&threading);
		if (algorithm == MIME_THREAD_REFS) {
			sort_by_latest(&threading);
		} else {
			subjects_gather(&threading);
			parents_first(&threading);
			sort_all(&threading);
		}
	}
	for (struct mime_thread *node = threading.root.children; node != NULL; node = node->next)
		node->parent = NULL;
	map_deinit(&threading.ids);
	free(threading.nodes);
	return threading.root.children;
}
