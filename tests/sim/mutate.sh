#!/bin/sh
# Shows that the simulation bites: breaks one rule after the other in a copy of the sources, and expects schedules to
# fail. usage: tests/sim/mutate.sh [schedules [pattern]]   (from the root of the source tree; only names that match)
# The table at the end holds a mutation or more for each rule of docs/replication.md: name | file | sed expression. A
# name that begins with "partial" says that schedules of partial copies are to notice it, one that begins with a unit test's, that this is: what only hostile peers do is not simulated (two contents, an INBOX that
# is another mailbox), of what is cleared with the stamp that it was set with the next merge clears it again, a push without a fresh
# modseq is refused by its receiver, and a client that stays away beyond the horizon is rare. A mutation
# that changes nothing, does not compile, or is not noticed is reported, and makes the script fail.
set -u
schedules=${1:-4000}
pattern=${2:-.}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
tar -c --exclude=./.git --exclude=./.deps --exclude="./build*" --exclude=node_modules . | tar -x -C "$work" || exit 2
meson setup "$work/build" "$work" -Dbuildtype=release -Dwerror=false >"$work/log" 2>&1 || { cat "$work/log"; exit 2; }
sim="$work/build/tests/sim/chapar-sim"
ninja -C "$work/build" tests/sim/chapar-sim tests/sim/chapar-sim-small >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 2; }
# What is run of partial copies; what fails by itself would seem to notice everything.
run_partial() {
	timeout 600 "$sim" --filtered --seeds "$work/tests/sim/failing-seeds-filtered.txt" &&
		timeout 600 "$sim-small" --filtered --seeds "$work/tests/sim/failing-seeds-filtered-small.txt" &&
		timeout 600 "$sim" --stop --schedules "$schedules" --seed 840000000 --filtered
}
{ "$sim" --schedules "$schedules" --seed 1 && run_partial; } >"$work/out" || { echo "fails without any mutation:"; cat "$work/out"; exit 2; }

# Runs the simulation, in large and small messages, or a unit test.
run_test() {
	if [ "$1" = partial ]; then
		run_partial
	elif [ -n "$1" ]; then
		timeout 300 "$work/build/tests/unit/$1"
	else
		timeout 600 "$sim" --stop --schedules "$schedules" --seed 1 &&
			timeout 600 "$sim-small" --stop --schedules "$((schedules / 4))" --seed 1
	fi >"$work/out" 2>&1 </dev/null
}

failed=0
while IFS='|' read -r name file expression; do
	[ -n "$name" ] && echo "$name" | grep -q -- "$pattern" || continue
	test=
	case $name in test_*:* | partial:*) test=${name%%:*} ;; esac
	cp "$work/$file" "$work/original"
	sed -i "$expression" "$work/$file"
	targets="tests/sim/chapar-sim tests/sim/chapar-sim-small"
	case $test in test_*) targets=tests/unit/$test ;; esac
	if cmp -s "$work/$file" "$work/original"; then
		echo "NOTHING CHANGED  $name"
		failed=1
		continue
	fi
	# shellcheck disable=SC2086
	if ! ninja -C "$work/build" $targets >"$work/log" 2>&1; then
		echo "DOES NOT COMPILE $name"
		grep -m1 error: "$work/log"
		failed=1
	elif run_test "$test"; then
		echo "NOT NOTICED      $name"
		failed=1
	else
		echo "noticed          $name: $(grep -m1 '^seed .*:\|rror: \|^.  FAILED' "$work/out" | cut -c1-110)"
	fi
	cp "$work/original" "$work/$file"
done <<'MUTATIONS'
the earlier change of a flag wins|src/sync/merge_join.c|s/order = flag_compare(flag_a, flag_b) >= 0 ? -1 : 1;/order = flag_compare(flag_a, flag_b) >= 0 ? 1 : -1;/
flags that only the other side knows are dropped|src/sync/merge_join.c|s/joined->flags\[joined->flag_count++\] = order < 0 ? \*flag_a : \*flag_b;/if (order <= 0) joined->flags[joined->flag_count++] = *flag_a;/
the earlier placement wins|src/sync/merge_join.c|s/place_compare(a, b) >= 0 ? a : b/place_compare(a, b) >= 0 ? b : a/
partial: a message that nobody here has is shown|src/sync/merge_place.c|s/if (!is_shown_by_any(message))/if (false \&\& !is_shown_by_any(message))/
partial: what is shown outside of the view is hidden|src/sync/merge.c|s/if (is_partial(state) \&\& !message_is_shown(told))/if (false)/
partial: a restored copy gives up what nobody has|src/sync/merge.c|s/return keep_returning(state, message);/return 0;/
partial: reminders outside of the view are not told|src/sync/responder_apply.c|s/if (apply->view.is_whole)$/if (true)/
partial: what is cleared outside of a limit is refused|src/sync/responder_view.c|s/if (rc < 0 || (rc == 0 \&\& record->is_set))/if (rc <= 0)/
partial: the peer is not told what else is in the view|src/sync/exchange.c|s/if (exchange->also.count == 0)/if (true)/
partial: what forwards into the view is not in it|src/sync/view.c|s/if (has_from == has_to)/if (!has_from || has_to)/
partial: what was elsewhere and appears counts as known|src/mail/account_put_message.c|s/write->counts_as_placed || appears ||/write->counts_as_placed ||/
partial: what is hidden from both goes round|src/sync/responder_records.c|s/if (mine == NULL || !message_is_shown(mine))/if (false)/
partial: what the peer is not shown is restamped for it|src/sync/merge.c|s/changes_theirs = !is_told_same(state, joined, /changes_theirs = !message_same(joined, /
partial: a UIDVALIDITY that is taken outside of the view is taken again|src/sync/responder_records.c|s/if (rc == 0 \&\& search.by_uidvalidity.count > 0)/if (false)/
test_view: a limited peer's mailbox is united with one that it may not see|src/sync/merge_mailboxes.c|s/return view != NULL \&\& view->is_limited \&\&/return false \&\&/
test_view: mailboxes that a limited peer claims are in its view|src/sync/integrate.c|s/rc == 0 \&\& !view.is_limited)/rc == 0)/
partial: a new UIDVALIDITY is the next one|src/sync/merge_mailboxes.c|s/step = 1u + id128_derive.*/step = 1u;/
partial: what keeps from a UIDVALIDITY is not in the view|src/sync/view.c|s/ || merge_is_retired(mailbox))/)/
partial: a rename out of the limit is refused when it was made|src/sync/responder_apply.c|s/rc = apply_open_view_again/rc = apply_open_view/
partial: what a union brings into the view is not told|src/sync/view_changes.c|s/note_entered(read, mailbox->forward);/(void)0;/
partial: what was said of a message that a union brings into the view is not told|src/sync/view_changes.c|s/!id128_equal(message->placed_in, message->mailbox));/false);/
partial: a repair of a copy that is not whole counts as a part|src/sync/integrate.c|s/fill.is_mixed = true;/fill.is_mixed = false;/
partial: a limited peer may not tell of what he did not ask for|src/sync/view_limit.c|s/return mailbox_is_live(mailbox)/return false \&\& mailbox_is_live(mailbox)/
every UID is good for me|src/sync/merge_place.c|s/!is_good_for_me(message, home, uid) ||/false ||/
every UID is good for them|src/sync/merge_place.c|s/!is_good_for_them(state, message, home, uid)/false/
new UIDs begin at my UIDNEXT only|src/sync/merge_join.c|s/joined.uidnext = a->uidnext > b->uidnext ? a->uidnext : b->uidnext;/joined.uidnext = a->uidnext;/
no fresh modseq for what changes here|src/sync/merge.c|s/(changes_mine \&\& greatest <= state->input->my_highest)/(false \&\& changes_mine)/
test_merge: no fresh modseq for what changes there|src/sync/merge.c|s/(changes_theirs \&\& greatest <= state->input->their_changes->highest)/(false \&\& changes_theirs)/
mailboxes of one name are not united|src/sync/merge_mailboxes.c|s/stays = map_get(&state->names, mailbox->joined.name);/stays = NULL;/
messages of closed mailboxes are not looked at|src/sync/merge_mailboxes.c|s/rc = scan_closed(state);/rc = 0;/
a mailbox lends its UIDVALIDITY to another|src/sync/merge_mailboxes.c|s/return separate_uidvalidities(state);/return rc;/
cursors from other copies are trusted|src/sync/merge_registers.c|s/if (!state->input->is_repair \&\& (!state->have_i_acted/if (true || (!state->have_i_acted/
a leap of UIDNEXT is not noted|src/mail/account_write.c|s/has_leapt = floor->mailbox.uidnext - floor->uidnext_before > floor->given_count;/has_leapt = false;/
a push to a copy that changed is taken|src/sync/responder_apply.c|s/if (write->header.sequence == apply->expect || is_new)/if (true)/
peers that forgot are not told|src/sync/responder_apply.c|s/rc = apply_remind_peer(apply, write);/rc = 0;/
digests are not compared|src/sync/responder_apply.c|s/if (!digest_equal(digest, apply->result)) {/if (false) {/
vanished UIDs are not noted|src/mail/account_put_message.c|s/modseq_key(key, account, before->mailbox, modseq, before->uid), vanished)/modseq_key(key, account, before->mailbox, 1, before->uid), vanished)/
test_deletion: cursors are not told of forgotten UIDs|src/mail/account_expire.c|s/write->header.vanished_floor = modseq;/write->is_counted = true;/
an account with mail stays deleted|src/sync/merge_registers.c|s/!mark.is_set || !has_live_message(state)/true/
a repair's list is lost when a body is missing|src/sync/exchange_repair.c|s/repair->is_merged = true;/exchange_repair_free(\&exchange->repair);/
an INTEGRATE of the past is merged|src/sync/responder_integrate.c|s/rc < 0 ? rc : point.theirs >= apply->sequence/rc < 0 ? rc : 0/
the earlier name of a mailbox stays|src/sync/merge_join.c|s/if (text_wins(b->name_stamp, b->name/if (!text_wins(b->name_stamp, b->name/
the earlier special use stays|src/sync/merge_join.c|s/if (text_wins(b->special_use_stamp, b->special_use/if (!text_wins(b->special_use_stamp, b->special_use/
the smaller UIDVALIDITY stays|src/sync/merge_join.c|s/joined.uidvalidity = a->uidvalidity > b->uidvalidity/joined.uidvalidity = a->uidvalidity < b->uidvalidity/
the deletion of a mailbox is not final|src/sync/merge_join.c|s/joined.deleted = stamp_compare(a->deleted, b->deleted) >= 0/joined.deleted = stamp_compare(a->deleted, b->deleted) <= 0/
a forward is lost|src/sync/merge_join.c|s/joined.forward = id128_compare(a->forward, b->forward) >= 0/joined.forward = id128_compare(a->forward, b->forward) <= 0/
the earlier setting stays|src/sync/merge_join.c|s/joined = register_compare(a, b) >= 0 ? \*a : \*b/joined = register_compare(a, b) >= 0 ? *b : *a/
test_merge_join: of equal stamps the setting stays that is set|src/sync/merge_join.c|s/return a->is_set ? -1 : 1;/return a->is_set ? 1 : -1;/
test_merge_join: one instance with two contents is taken|src/sync/merge_join.c|s/!guid_equal(&a->guid, &b->guid)/false/
a mailbox made anew has an id of its own|src/sync/merge_mailboxes.c|s/return id128_derive("revived", bytes_of(deleted.bytes, sizeof(deleted.bytes)));/static unsigned n; n++; return id128_derive("revived", bytes_of(\&n, sizeof(n)));/
a mailbox made anew keeps the UIDVALIDITY|src/sync/merge_mailboxes.c|s/.uidvalidity = uidvalidity_new(state),/.uidvalidity = deleted->joined.uidvalidity,/
a UIDVALIDITY that was given up comes back|src/sync/merge_mailboxes.c|s/rc = retire_outdone(state);/rc = 0;/
test_merge: INBOX may be the one that goes|src/sync/merge_mailboxes.c|s/return is_inbox ? 1 : -1;/return is_inbox ? -1 : 1;/
what was deleted and forgotten returns|src/sync/merge.c|s/if (change->was_common \&\& message_is_shown(record))/if (false)/
what is new is taken for deleted|src/sync/merge.c|s/if (change->was_common \&\& message_is_shown(record))/if (message_is_shown(record))/
a setting that was cleared and forgotten returns|src/sync/merge_registers.c|s/else if (state->input->is_repair \&\& joined.is_set \&\& joined.was_common)/else if (false)/
the other version of a script is lost|src/sync/merge_registers.c|s/if (loser->kind != RECORD_SCRIPT/if (true/
an edit of a known version keeps that one|src/sync/merge_registers.c|s/script_is_made_from(winner->value, loser->stamp)/false/
versions of one millisecond have one name|src/sync/merge_registers.c|s/if (counter > 0)/if (false)/
anything revives a deleted account|src/sync/merge_registers.c|s/!mark.is_set || !has_live_message(state)/!mark.is_set/
annotations of expunged messages stay|src/sync/merge_tidy.c|s/return rc == 0 ? tidy_messages(state, output) : rc;/return rc;/
annotations that came for expunged messages stay|src/sync/merge_tidy.c|s/rc = message_is_gone(state, instance, \&is_gone);/rc = 0;/
mailboxes that are united lose their metadata|src/sync/merge_tidy.c|s/return hand_over(state, output, record, home->joined.id);/return 0;/
test_merge_tidy: what was handed over stays where the mailbox no longer leads|src/sync/merge_tidy.c|s/return !mailbox_is_live(version) \&\&/return false \&\&/
metadata and rights of deleted mailboxes stay|src/sync/merge_tidy.c|s/rc = tidy_mailboxes(state, output);/rc = 0;/
a mailbox made anew has the rights of the deleted one|src/sync/merge_tidy.c|s/rc = is_made_anew(state, mailbox, home);/rc = 0;/
a merge is refused for the quota|src/mail/mail.c|s/if (rc >= 0 \&\& commit->is_user) {/if (rc >= 0) {/
a replica takes changes|src/mail/account_mode.c|s/if (rc == 0 \&\& account_mode_is_replica(/if (false \&\& account_mode_is_replica(/
a message that was sent on is appended twice|src/mail/message.c|s/if (append->count == 1 \&\& !stamp_is_none(append->messages\[0\].instance))/if (false)/
test_merge: an equal UIDNEXT is taken for the same acts|src/sync/merge.c|s/if (is_equal \&\& mailbox->is_mine_changed/if (false \&\& mailbox->is_mine_changed/
a node that is behind gives UIDs|src/sync/forward.c|s/mailbox.uidnext < append->uidnext/0/
what was appended under its instance gets another|src/mail/message.c|s/if (stamp_is_none(from->instance))/if (true)/
an account that is brought back stays deleted|src/mail/undelete.c|s/\t\t\tfalse, BYTES_LITERAL(""));/\t\t\ttrue, BYTES_LITERAL(""));/
deleting an account leaves its mailboxes|src/mail/deletion.c|s/mailbox.deleted = stamp;/mailbox.modseq = stamp.modseq;/
common points are not noted|src/sync/view.c|s/return rc < 0 ? rc : point_put_of(store, view->account, peer, part, point);/return rc;/
test_merge_check: what goes back is taken|src/sync/merge_check.c|s/if (theirs->modseq < mine->modseq)/if (false)/
MUTATIONS
exit $failed
