#!/bin/sh
# Shows that the simulation bites: breaks one rule after the other in a copy of the sources, and expects schedules to
# fail. usage: tests/sim/mutate.sh [schedules]   (from the root of the source tree)
# Each mutation is: name | file | sed expression. A mutation that changes nothing, does not compile, or is not
# noticed is reported, and makes the script fail.
set -u
schedules=${1:-4000}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
tar -c --exclude=./.git --exclude=./.deps --exclude="./build*" --exclude=node_modules . | tar -x -C "$work" || exit 2
meson setup "$work/build" "$work" -Dbuildtype=release -Dwerror=false >"$work/log" 2>&1 || { cat "$work/log"; exit 2; }
sim="$work/build/tests/sim/chapar-sim"
ninja -C "$work/build" tests/sim/chapar-sim >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 2; }
"$sim" --schedules "$schedules" --seed 1 >"$work/out" || { echo "fails without any mutation:"; cat "$work/out"; exit 2; }

failed=0
while IFS='|' read -r name file expression; do
	[ -n "$name" ] || continue
	cp "$work/$file" "$work/original"
	sed -i "$expression" "$work/$file"
	if cmp -s "$work/$file" "$work/original"; then
		echo "NOTHING CHANGED  $name"
		failed=1
		continue
	fi
	if ! ninja -C "$work/build" tests/sim/chapar-sim >"$work/log" 2>&1; then
		echo "DOES NOT COMPILE $name"
		grep -m1 error: "$work/log"
		failed=1
	else
		timeout 300 "$sim" --schedules "$schedules" --seed 1 >"$work/out" 2>&1
		if [ $? -eq 0 ]; then
			echo "NOT NOTICED      $name"
			failed=1
		else
			echo "noticed          $name: $(grep -m1 '^seed .*:' "$work/out" | cut -d: -f2- | cut -c1-90)"
		fi
	fi
	cp "$work/original" "$work/$file"
done <<'MUTATIONS'
the earlier change of a flag wins|src/sync/merge_join.c|s/order = flag_compare(flag_a, flag_b) >= 0 ? -1 : 1;/order = flag_compare(flag_a, flag_b) >= 0 ? 1 : -1;/
flags that only the other side knows are dropped|src/sync/merge_join.c|s/joined->flags\[joined->flag_count++\] = order < 0 ? \*flag_a : \*flag_b;/if (order <= 0) joined->flags[joined->flag_count++] = *flag_a;/
the earlier placement wins|src/sync/merge_join.c|s/placement_compare(a, b) >= 0 ? a : b/placement_compare(a, b) >= 0 ? b : a/
every UID is good for me|src/sync/merge_place.c|s/!is_good_for_me(message, home, uid) ||/false ||/
every UID is good for them|src/sync/merge_place.c|s/!is_good_for_them(state, message, home, uid)/false/
new UIDs begin at my UIDNEXT only|src/sync/merge_join.c|s/joined.uidnext = a->uidnext > b->uidnext ? a->uidnext : b->uidnext;/joined.uidnext = a->uidnext;/
no fresh modseq for what changes here|src/sync/merge.c|s/(changes_mine \&\& greatest <= state->input->my_highest)/(false \&\& changes_mine)/
no fresh modseq for what changes there|src/sync/merge.c|s/(changes_theirs \&\& greatest <= state->input->their_changes->highest)/(false \&\& changes_theirs)/
mailboxes of one name are not united|src/sync/merge_mailboxes.c|s/stays = map_get(&state->names, mailbox->joined.name);/stays = NULL;/
messages of closed mailboxes are not looked at|src/sync/merge_mailboxes.c|s/rc = scan_closed(state);/rc = 0;/
a mailbox lends its UIDVALIDITY to another|src/sync/merge_mailboxes.c|s/return separate_uidvalidities(state);/return rc;/
cursors from other copies are trusted|src/sync/merge_registers.c|s/if (!state->have_i_acted || !state->have_they_acted)/if (true)/
a leap of UIDNEXT is not noted|src/mail/account_write.c|s/has_leapt = floor->mailbox.uidnext - floor->uidnext_before > floor->given_count;/has_leapt = false;/
a push to a copy that changed is taken|src/sync/responder_apply.c|s/if (write->header.sequence != apply->expect \&\& !is_new)/if (false \&\& !is_new)/
peers that forgot are not told|src/sync/responder_apply.c|s/rc = remind_peer(apply, write);/rc = 0;/
digests are not compared|src/sync/responder_apply.c|s/if (!digest_equal(write->header.digest, apply->result))/if (false)/
vanished UIDs are not noted|src/mail/account_write.c|s/modseq_key(key, account, before->mailbox, modseq, before->uid), vanished)/modseq_key(key, account, before->mailbox, 1, before->uid), vanished)/
cursors are not told of forgotten UIDs|src/mail/account_expire.c|s/write->header.vanished_floor = modseq;/write->is_counted = true;/
an account with mail stays deleted|src/sync/merge_registers.c|s/!mark.is_set || !has_live_message(state)/true/
a repair's list is lost when a body is missing|src/sync/exchange_repair.c|s/repair->is_merged = true;/exchange_repair_free(\&exchange->repair);/
an INTEGRATE of the past is merged|src/sync/responder_apply.c|s/rc < 0 ? rc : point.theirs >= apply->sequence/rc < 0 ? rc : 0/
MUTATIONS
exit $failed
