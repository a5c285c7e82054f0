#!/usr/bin/env python3
"""Executable model of the merge rules (docs/replication.md): one account, mailboxes, messages, settings, scripts, and
whether the account is deleted; N copies, any topology.
Random client operations, pairwise exchanges with races, lost answers and stale common points, expiring tombstones,
nodes restored from stale snapshots; checks P1-P4, P6, P7.
usage: merge_model.py [schedules] [nodes] [seed0]
       merge_model.py --check PROGRAM [schedules] [nodes] [seed0]
With --check every integration of these schedules is also given to PROGRAM (tests/unit/test_merge_model.c) as text:
both sides' records and what the model made of them; it runs the same through src/sync/merge.c and compares."""
import random, sys, copy, hashlib, subprocess, struct, datetime

INBOX = 'ff' + 15 * '00'
def h(*a): return hashlib.sha256(repr(a).encode()).hexdigest()[:32]
def retired(uv): return hashlib.sha256(b'uidvalidity\0' + uv.to_bytes(4, 'big')).hexdigest()[:32]
def reunited(i): return hashlib.sha256(b'reunited\0' + bytes.fromhex(i)).hexdigest()[:32]
def revived(i): return hashlib.sha256(b'revived\0' + bytes.fromhex(i)).hexdigest()[:32]

class Msg:   # one instance: all that users did to it; the UID is only its name here
    __slots__ = ('flags', 'loc', 'mb', 'uid', 'ms')
    def __init__(s, flags, loc, mb, uid, ms): s.flags, s.loc, s.mb, s.uid, s.ms = flags, loc, mb, uid, ms
    # loc = (stamp, mailbox id or None): where the user last put it. mb, uid = where that is shown now.
    def same(a, b): return (a.flags, a.loc, a.mb, a.uid) == (b.flags, b.loc, b.mb, b.uid)
class Box:
    __slots__ = ('name', 'uv', 'dead', 'fwd', 'ms')
    def __init__(s, name, uv, ms, dead=None, fwd=None): s.name, s.uv, s.dead, s.fwd, s.ms = name, uv, dead, fwd, ms
    # name = (stamp, text)   dead = stamp of deletion or None   fwd = id of the mailbox that took its mail
    def same(a, b): return (a.name, a.uv, a.dead, a.fwd) == (b.name, b.uv, b.dead, b.fwd)

ACCOUNT, ACL, SUBSCRIPTION, SEEN, SCRIPT = 1, 3, 6, 7, 8
DELETED = (ACCOUNT, '', 'deleted')       # kind, mailbox, key
class Reg:   # a setting: st = stamp of the act, val = None if it was cleared; known = stamps a script was made from
    __slots__ = ('st', 'val', 'known', 'ms')
    def __init__(s, st, val, ms, known=()): s.st, s.val, s.ms, s.known = st, val, ms, tuple(known)
    def same(a, b): return (a.st, a.val) == (b.st, b.val)
    def encoded(s, kind):                # a cleared script still tells what it was made from
        if kind != SCRIPT: return (s.val or '').encode()
        return struct.pack('BB', 1, len(s.known)) + b''.join(struct.pack('>QQ', *k) for k in s.known) + (s.val or '').encode()
def merge_reg(a, b): return max(a, b, key=lambda r: (r.st, r.val is None))
def kept_name(key, st):                  # of a version of a script that lost against one not made from it
    when = datetime.datetime.fromtimestamp(st[0] // 1024 // 1000, datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%S')
    nth = f'+{st[0] % 1024}' if st[0] % 1024 else ''
    return f'{key} (conflict {when}.{st[0] // 1024 % 1000:03d}Z{nth} {st[1]:016x})'

def merge_msg(a, b):
    """pure, commutative, associative, idempotent (ms aside)"""
    m = copy.copy(a); m.flags = dict(a.flags)
    for n, sv in b.flags.items():
        if n not in m.flags or m.flags[n] < sv: m.flags[n] = sv
    if a.loc != b.loc:
        w = a if a.loc > b.loc else b
        m.loc, m.mb, m.uid = w.loc, w.mb, w.uid
    elif (a.mb, a.uid) != (b.mb, b.uid):
        if a.mb == b.mb: m.uid = max(a.uid, b.uid)
        else: m.mb, m.uid = max((a.mb, a.uid), (b.mb, b.uid))     # refined by placement below
    return m
def merge_box(a, b):
    m = copy.copy(a); m.name = max(a.name, b.name); m.uv = max(a.uv, b.uv)
    m.dead = max(a.dead or (0,), b.dead or (0,)); m.dead = None if m.dead == (0,) else m.dead
    m.fwd = max(a.fwd or '', b.fwd or '') or None
    return m

class Node:
    def __init__(s, nid):
        s.nid, s.last, s.seq, s.top = nid, 0, 0, 0      # seq: local order of what was written; top: highest modseq shown
        s.msg, s.box, s.uidnext, s.reg = {}, {}, {}, {}
        s.shown, s.slot = {}, {}        # (mb,uv,uid)->inst ever shown (P2); (mb,uid)->inst now
        s.common, s.at, s.placed = {}, {}, {}        # placed: local sequence at which the present placement arrived
        s.showed = {}                   # local sequence at which the present (mailbox, UID) was given
        s.highest = {}                  # per mailbox HIGHESTMODSEQ announced (P4)
        s.put_box(INBOX, Box(((0, 0), 'INBOX'), 1, 0))
    def tick(s, floor=0): s.last = max(s.last, floor) + 1; return s.last
    def stamp(s): return (s.tick(), s.nid)
    def wrote(s, key, ms): s.seq += 1; s.at[key] = s.seq; s.last = max(s.last, ms)
    def put_box(s, i, b):
        s.box[i] = b; s.uidnext.setdefault(i, 1); s.wrote(('b', i), b.ms)
    def put_msg(s, i, m):
        old = s.msg.get(i); s.wrote(('m', i), m.ms)
        if not old or old.loc != m.loc: s.placed[i] = s.seq
        if not old or (old.mb, old.uid) != (m.mb, m.uid): s.showed[i] = s.seq
        if old and old.mb and s.slot.get((old.mb, old.uid)) == i: del s.slot[(old.mb, old.uid)]
        s.msg[i] = m; s.last = max(s.last, m.ms)
        if m.mb is None: return
        k = (m.mb, m.uid); uv = s.box[m.mb].uv
        assert s.slot.get(k, i) == i, f'P2 two at {k}'
        vis = (m.mb, m.uid)
        if vis in s.shown: assert s.shown[vis] == i, f'P2 reuse {vis}'
        else: assert m.uid >= s.uidnext[m.mb], f'P3 {vis} below UIDNEXT {s.uidnext[m.mb]}'
        s.shown[vis] = i; s.slot[k] = i; s.raise_uidnext(m.mb, m.uid + 1)
        if not (old and Msg.same(old, m)):
            assert m.ms > s.highest.get(m.mb, 0), f'P4 {i} {m.ms} <= {s.highest.get(m.mb)}'
    def raise_uidnext(s, i, u):          # a mailbox record has changed when its UIDNEXT has
        if u > s.uidnext.get(i, 1): s.uidnext[i] = u; s.wrote(('b', i), 0)
    def put_reg(s, k, r): s.reg[k] = r; s.wrote(('r', k), r.ms)
    def is_deleted(s): return DELETED in s.reg and s.reg[DELETED].val is not None
    def announce(s):                    # what clients may now know
        for m in s.msg.values():
            if m.mb: s.highest[m.mb] = max(s.highest.get(m.mb, 0), m.ms)
            s.top = max(s.top, m.ms)
        for b in s.box.values(): s.top = max(s.top, b.ms)
        for r in s.reg.values(): s.top = max(s.top, r.ms)
    def state(s):
        return ({i: (m.ms, m.mb, m.uid, tuple(sorted(m.flags.items()))) for i, m in s.msg.items() if m.mb},
                {i: (b.name, b.uv, s.uidnext[i]) for i, b in s.box.items() if not b.dead},
                {k: (r.st, r.val, r.ms) for k, r in s.reg.items() if r.val is not None})
    def boxes(s): return [i for i, b in s.box.items() if not b.dead]
    def expire(s, age):                 # tombstones older than the horizon are dropped
        for i in [i for i, m in s.msg.items() if m.mb is None and m.loc[1] == '' and m.loc[0][0] < s.last - age]: del s.msg[i]; del s.at['m', i]; EXPIRED.add(i)
    # ---- clients
    def append(s, mb):
        st = s.stamp(); s.put_msg(st, Msg({}, (st, mb), mb, s.uidnext[mb], st[0])); return st
    def upd(s, i, **kw):
        m = copy.copy(s.msg[i]); m.flags = dict(m.flags)
        for k, v in kw.items(): setattr(m, k, v)
        s.put_msg(i, m)
    def flag(s, i, f, v):
        st = s.stamp(); fl = dict(s.msg[i].flags); fl[f] = (st, v); s.upd(i, flags=fl, ms=st[0]); return st
    def expunge(s, i): st = s.stamp(); s.upd(i, loc=(st, ''), mb=None, uid=0, ms=st[0])
    def move(s, i, mb): st = s.stamp(); s.upd(i, loc=(st, mb), mb=mb, uid=s.uidnext[mb], ms=st[0])
    def create(s, name):
        if any(s.box[i].name[1] == name for i in s.boxes()): return
        st = s.stamp(); s.put_box(h(st), Box((st, name), st[0] + 1, st[0]))
    def rename(s, i, name):
        if any(s.box[j].name[1] == name for j in s.boxes()): return
        st = s.stamp(); b = copy.copy(s.box[i]); b.name = (st, name); b.ms = st[0]; s.put_box(i, b)
    def delete(s, i):
        killed = [k for k, m in s.msg.items() if m.mb == i]
        for k in killed: s.expunge(k)
        st = s.stamp(); b = copy.copy(s.box[i]); b.dead = st; b.ms = st[0]; s.put_box(i, b)
        return killed

    def set(s, k, val):
        st = s.stamp(); old = s.reg.get(k)
        s.put_reg(k, Reg(st, val, st[0], ((old.st,) + old.known)[:16] if old and k[0] == SCRIPT else ())); return st
    def delete_account(s):
        killed = [i for i, m in s.msg.items() if m.mb]
        for i in killed: s.expunge(i)
        for i in s.boxes():
            if i != INBOX: s.delete(i)
        for k in [k for k, r in sorted(s.reg.items()) if r.val is not None]: s.set(k, None)
        s.set(DELETED, 'x'); return killed

def known(N, changes, seq): return {i for i in changes[0] if N.placed.get(i, 0) <= seq}
def since(N, seq): return ({i: m for i, m in N.msg.items() if N.at['m', i] > seq}, {i: b for i, b in N.box.items() if N.at['b', i] > seq}, {k: r for k, r in N.reg.items() if N.at['r', k] > seq})

def integrate(A, theirs, T_uidnext, T_top, M, side='mine', known=(), full=False):
    """A brings B's changes into its own copy, so that the result is legal to show on both. One local transaction."""
    tm, tb, tr = theirs; mm, mb, mr = since(A, 0 if full else M[side]); A.announce(); floor = max(A.last, T_top)
    had = dict(A.uidnext); conflicts = 0; made = []
    case = dump_input(A, theirs, T_uidnext, T_top, M[side], known, full) if CASES is not None else None
    def act():                           # the stamp of what this merge decides itself
        if not made: made.append((A.tick(floor), A.nid))
        return made[0]
    touched_m, touched_b = set(tm) | set(mm), set(tb) | set(mb)
    box = {i: copy.copy(b) for i, b in A.box.items()}
    for i, b in tb.items(): box[i] = merge_box(box[i], b) if i in box else copy.copy(b)
    nxt = {i: max(A.uidnext.get(i, 1), T_uidnext.get(i, 1)) for i in box}
    msg = dict(A.msg)
    for i, m in tm.items():
        if i in msg: msg[i] = merge_msg(msg[i], m)
        else:
            msg[i] = copy.copy(m)
            if i in known and m.mb:      # was here at the common point, no record now: deleted here, tombstone expired
                msg[i].loc, msg[i].mb, msg[i].uid = (act(), ''), None, 0
    if full:                             # they sent all they have: what was common and they lack, was deleted there
        for i, m in A.msg.items():
            if m.mb and i not in tm and A.placed[i] <= M[side]:
                msg[i] = copy.copy(m); msg[i].loc, msg[i].mb, msg[i].uid = (act(), ''), None, 0; touched_m.add(i)
    def rank(i): return (i == INBOX, box[i].uv, i)
    def home(i):
        path = []
        while box[i].dead and box[i].fwd and i not in path: path.append(i); i = box[i].fwd
        if i in path: return max(path[path.index(i):], key=rank)     # two copies forwarded to each other's
        return i
    uvlast = [max(b.uv for b in box.values())]
    def next_uv(): uvlast[0] += 1; return uvlast[0]
    def retire(uv):                      # a deleted mailbox keeps others from this UIDVALIDITY
        i = retired(uv); touched_b.add(i)
        if i not in box: box[i] = Box(((0, 0), '/uidvalidity'), uv, 0, act()); nxt[i] = 1
    for i in list(box):                  # given up by one side for the other's greater one
        for x in (A.box.get(i), tb.get(i)):
            if x and x.uv != box[i].uv: retire(x.uv)
    changed = True
    while changed:                       # mailbox level: unite equal names, revive what mail arrived in
        changed = False
        names = {}
        order = sorted(box, key=rank, reverse=True)
        for i in order:
            if box[i].dead: continue
            n = box[i].name[1]
            if n in names:
                box[i].dead, box[i].fwd = box[i].dead or act(), names[n]; touched_b.add(i); touched_b.add(names[n]); changed = True; conflicts += 1
            else: names[n] = i
        groups = {}                      # clients know a mailbox by name and UIDVALIDITY: no two may share one
        for i in order: groups.setdefault(box[i].uv, []).append(i)
        for group in groups.values():
            if len(group) < 2: continue
            old, free = box[group[0]].uv, not any(box[i].dead for i in group)
            for i in group:
                if not box[i].dead: box[i].uv = next_uv(); touched_b.add(i)
            if free: retire(old)
        for i, m in msg.items():
            if m.loc[1]:
                d = home(m.loc[1])
                if box[d].dead:          # deleted there, but this message was not seen by who deleted it
                    n = box[d].name[1]
                    if n in names: to = names[n]
                    else:
                        to = (reunited if box[d].fwd else revived)(d); b = box.get(to)
                        if b is None: box[to] = Box((box[d].name[0], n), next_uv(), 0); nxt[to] = max(A.uidnext.get(to, 1), T_uidnext.get(to, 1)); touched_b.add(to)
                        elif b.dead: 
                            # revived once and deleted again: revive its successor
                            box[d].fwd = to; touched_b.add(d); changed = True; break
                    box[d].fwd = to; touched_b.add(d); changed = True; conflicts += 1; break
    theirs_has = lambda i, m: i in tm and tm[i].mb == m.mb and tm[i].uid == m.uid
    for i, m in sorted(msg.items()):     # placement: every live message is at one UID that both sides may show
        want = home(m.loc[1]) if m.loc[1] else None
        if want is None:
            if m.mb is not None: m = copy.copy(m); m.mb, m.uid = None, 0; msg[i] = m; touched_m.add(i)
            continue
        ours, th = A.msg.get(i), tm.get(i)
        cand = [x.uid for x in (ours, th) if x and x.mb == want and x.loc == m.loc]
        u = max(cand) if cand else 0
        okA = u and ((ours and ours.mb == want and ours.uid == u) or u >= had.get(want, 1))
        thas = (th and th.mb == want and th.uid == u) or (not th and i not in mm)   # unchanged since M on both: they have it as we do
        if full: thas = bool(th and th.mb == want and th.uid == u)
        elif not th and i in mm and A.showed[i] <= M[side] and ours.mb == want and ours.uid == u: thas = True  # shown since before M
        okB = u and (thas or u >= T_uidnext.get(want, 1))
        if not (okA and okB):
            if u: conflicts += 1
            u = nxt[want]; nxt[want] += 1; touched_m.add(i)
        if (m.mb, m.uid) != (want, u): touched_m.add(i); m = copy.copy(m); m.mb, m.uid = want, u; msg[i] = m
    def modseq(new, ours, th, mine_changed):
        ms = max(x.ms for x in (ours, th, new) if x)
        changes_mine = ours is None or not type(new).same(new, ours)
        changes_theirs = not type(new).same(new, th) if th else mine_changed
        return A.tick(floor) if changes_mine and ms <= A.top or changes_theirs and ms <= T_top else ms
    def write(put, i, new, ours, th, mine_changed, ms):
        # also what changes only there and is not among A's changes: so it becomes one, and is pushed
        told = th is None or mine_changed or type(new).same(new, th) and ms == th.ms
        if ours is None or not type(new).same(new, ours) or ms != ours.ms or not told:
            new = copy.copy(new); new.ms = ms; put(i, new)
    acted = [False, False]               # who has done anything since M: if both have, all cursors are told (mail/account.h)
    is_equal_changed = False             # a mailbox that both changed to the same: its UIDNEXT may be so by chance
    def note_acts(ours, th, mine_changed):
        equal = ours is not None and th is not None and type(ours).same(ours, th)
        acted[0] |= mine_changed and not equal; acted[1] |= th is not None and not equal
    def pristine(b, uidnext): return b is not None and b.ms <= 1 and uidnext <= 1    # as every copy makes its INBOX: nobody acted
    for i in sorted(touched_b):
        if i in box:
            ours, th = A.box.get(i), tb.get(i); by_me = i in mb and not pristine(ours, A.uidnext.get(i, 1))
            by_them = not pristine(th, T_uidnext.get(i, 1))
            equal = ours is not None and th is not None and Box.same(ours, th) and A.uidnext.get(i, 1) == T_uidnext.get(i, 1)
            acted[0] |= by_me and not equal; acted[1] |= th is not None and by_them and not equal
            is_equal_changed |= by_me and equal
            write(A.put_box, i, box[i], A.box.get(i), tb.get(i), i in mb, modseq(box[i], A.box.get(i), tb.get(i), i in mb))
    # vacate first, so that a slot given up is free; then show in UID order
    for i in touched_m:
        o = A.msg.get(i)
        if o and o.mb and (o.mb, o.uid) != (msg[i].mb, msg[i].uid): A.slot.pop((o.mb, o.uid), None)
    for i in sorted(touched_m, key=lambda i: (msg[i].mb or '', msg[i].uid, i)):
        note_acts(A.msg.get(i), tm.get(i), i in mm)
        write(A.put_msg, i, msg[i], A.msg.get(i), tm.get(i), i in mm, modseq(msg[i], A.msg.get(i), tm.get(i), i in mm))
    for i in nxt: A.raise_uidnext(i, nxt[i])
    A.last = max(A.last, floor)
    # settings: the later act; a script that loses against one not made from it is kept; mail revives a deleted account
    out = {}
    def result(new, changes_mine, changes_theirs):
        return A.tick(floor) if changes_mine and new.ms <= A.top or changes_theirs and new.ms <= T_top else new.ms
    def write_reg(k, ours, th):
        if th and ours and ours.st != th.st and (k in mr or ours.st > th.st):
            lost, won = (th, ours) if merge_reg(ours, th) is ours else (ours, th)
            name = (SCRIPT, '', kept_name(k[2], lost.st))
            if k[0] == SCRIPT and lost.val is not None and lost.st not in won.known and won.val != lost.val and not any(
                    r and r.st >= lost.st for r in (tr.get(name), A.reg.get(name))):
                kept = copy.copy(lost); kept.ms = result(kept, True, True); out[name] = kept
        new = copy.copy(merge_reg(ours, th) if ours and th else ours or th); new.ms = max(r.ms for r in (ours, th) if r)
        new.ms = result(new, not ours or not Reg.same(new, ours), not th or not Reg.same(new, th))
        if not ours or not Reg.same(new, ours) or new.ms != ours.ms or (k not in mr and (not Reg.same(new, th) or new.ms != th.ms)): out[k] = new
    for k in sorted(tr): write_reg(k, A.reg.get(k), tr[k])
    for k in sorted(mr):
        if k not in tr: write_reg(k, A.reg[k], None)
    mark = out.get(DELETED, A.reg.get(DELETED))
    if mark and mark.val is not None and any(msg[i].loc[1] for i in touched_m):
        st = (A.tick(floor), A.nid); out[DELETED] = Reg(st, None, st[0])
    for k, r in out.items(): A.put_reg(k, r)
    if is_equal_changed and any(acted): acted = [True, True]
    if full or acted[0] and acted[1]: A.tick(floor)      # the register that tells it
    A.announce()
    if case is not None: CASES.append(case + dump_result(A))
    return conflicts

def apply(B, msgs, boxes, regs, uidnext, last):
    for k, r in regs.items():
        o = B.reg.get(k)
        if not (o and Reg.same(o, r) and o.ms == r.ms): B.put_reg(k, copy.copy(r))
    for i, b in boxes.items():
        if not (i in B.box and B.box[i].ms == b.ms and Box.same(B.box[i], b)): B.put_box(i, copy.copy(b))
    for i, m in msgs.items():
        o = B.msg.get(i)
        if o and o.mb and (o.mb, o.uid) != (m.mb, m.uid): B.slot.pop((o.mb, o.uid), None)
    for i, m in sorted(msgs.items(), key=lambda x: (x[1].mb or '', x[1].uid)):
        if i in B.msg and B.msg[i].ms == m.ms and Msg.same(B.msg[i], m): continue
        B.put_msg(i, copy.copy(m))
    for i, u in uidnext.items(): B.raise_uidnext(i, u)
    B.last = max(B.last, last); B.announce()

# ---- every integration as text, for the program that runs it through the C code
CASES = None
def text(*words): return ' '.join('-' if w is None or w == '' else str(w) for w in words) + '\n'
def dump_msg(kind, i, m, *local):
    flags = [f'{n}:{st[0]}:{st[1]}:{int(v)}' for n, (st, v) in sorted(m.flags.items())]
    return text(kind, *i, *m.loc[0], m.loc[1], m.mb, m.uid, m.ms, *local, len(flags), *flags)
def dump_box(kind, i, b, *local):
    return text(kind, i, *b.name[0], b.name[1], b.uv, *(b.dead or (0, 0)), b.fwd, b.ms, *local)
def dump_reg(kind, k, r, at):
    return text(kind, k[0], k[1], k[2].encode().hex(), *r.st, int(r.val is not None), r.encoded(k[0]).hex(), r.ms, at)
def dump_input(A, theirs, T_uidnext, T_top, since, known, full):
    out = text('case', A.nid, A.last, A.top, T_top, since, int(full))
    for i, b in A.box.items(): out += dump_box('mine', i, b, A.uidnext.get(i, 1), A.at['b', i])
    for i, m in A.msg.items(): out += dump_msg('own', i, m, A.at['m', i], A.placed[i], A.showed[i])
    for i, b in theirs[1].items(): out += dump_box('theirs', i, b, T_uidnext.get(i, 1), 0)
    for i, m in theirs[0].items(): out += dump_msg('sent', i, m, int(i in known), 0, 0)
    for k, r in sorted(A.reg.items()): out += dump_reg('set', k, r, A.at['r', k])
    for k, r in sorted(theirs[2].items()): out += dump_reg('told', k, r, 0)
    return out
def dump_result(A):
    out = ''.join(dump_box('mailbox', i, b, A.uidnext.get(i, 1), 0) for i, b in A.box.items())
    out += ''.join(dump_msg('message', i, m, 0, 0, 0) for i, m in A.msg.items())
    out += ''.join(dump_reg('setting', k, r, 0) for k, r in sorted(A.reg.items()))
    return out + text('end', A.last)

EXPIRED = set()                          # messages whose tombstone expired somewhere: only P1-P6 are promised for them
STAT = {'refused': 0, 'conflicts': 0, 'exchanges': 0}
def exchange(A, B, rnd, race=None, lose=False):
    STAT['exchanges'] += 1
    for attempt in range(5):
        M = A.common.get(B.nid, {'mine': 0, 'theirs': 0})
        # equal digests are not enough: tombstones are not in them, and a common point must not pass unsent ones
        th = since(B, M['theirs'])
        if th[0] or th[1] or th[2]:
            B.announce(); snap = copy.deepcopy(th); un, la, sq = dict(B.uidnext), B.top, B.seq
            if race and rnd.random() < .3: race(A)              # local clients go on
            STAT['conflicts'] += integrate(A, snap, un, la, M, known=known(B, snap, M['theirs']))
        at = B.seq
        if race and rnd.random() < .5: race(B)
        if B.seq != at: STAT['refused'] += 1; continue         # CHANGED
        push = since(A, M['mine'])
        lack = [i for i in known(A, push, M['mine']) if i not in B.msg and push[0][i].mb]
        for i in lack:               # was here at the common point: deleted here, tombstone expired; B says so and refuses
            st = (B.tick(A.last), B.nid); B.put_msg(i, Msg({}, (st, ''), None, 0, st[0]))
        if lack: STAT['refused'] += 1; continue
        apply(B, *push, A.uidnext, A.last)
        if A.state() != B.state():   # digests differ (tombstones expired unseen): compare everything once
            th = copy.deepcopy(since(B, 0)); STAT['repairs'] = STAT.get('repairs', 0) + 1
            integrate(A, th, dict(B.uidnext), B.top, M, known=known(B, th, M['theirs']), full=True)
            apply(B, *since(A, 0), A.uidnext, A.last)
        assert A.state() == B.state(), 'P6 exchange ended unequal'
        if not rnd.random() < .1: B.common[A.nid] = {'mine': B.seq, 'theirs': A.seq}
        if not lose: A.common[B.nid] = {'mine': A.seq, 'theirs': B.seq}
        return True
    # A asks B to integrate: B merges atomically, A adopts B's answer in the next exchange
    M = A.common.get(B.nid, {'mine': 0, 'theirs': 0})
    A.announce(); STAT['conflicts'] += integrate(B, copy.deepcopy(since(A, M['mine'])), dict(A.uidnext), A.top, M, 'theirs', known(A, since(A, M['mine']), M['mine']))
    return False

def run(seed, nn):
    rnd = random.Random(seed); N = [Node(i) for i in range(nn)]; EXPIRED.clear()
    acked, gone, fl, lostinst, forgiven = set(), {}, {}, set(), set()
    sets = {}
    def settle(n, r):
        k = rnd.choice([(ACCOUNT, '', 'limit'), (ACL, INBOX, 'bob'), (SUBSCRIPTION, '', 'Work'), (SEEN, INBOX, 'm'), (SCRIPT, '', 'main')])
        if r < .95: v = rnd.choice(['a', 'b', 'c', None]); sets.setdefault(k, []).append((n.set(k, v), v))
        else:
            for i in n.delete_account(): gone.setdefault(i, []).append(n.msg[i].loc[0])
            for k in n.reg: sets.setdefault(k, []).append((n.reg[k].st, n.reg[k].val))
    def op(n):
        if n.is_deleted(): n.set(DELETED, None); return
        if rnd.random() < .15: settle(n, rnd.random()); return
        lv = [i for i, m in n.msg.items() if m.mb]; r = rnd.random(); bx = n.boxes()
        if r < .40 or not lv: acked.add(n.append(rnd.choice(bx)))
        elif r < .84:
            i = rnd.choice(sorted(lv))
            if r < .60:
                f = rnd.choice('SAF'); v = rnd.random() < .7; fl.setdefault((i, f), []).append((n.flag(i, f, v), v))
            elif r < .70: n.expunge(i); gone.setdefault(i, []).append(n.msg[i].loc[0])
            else:
                o = [b for b in bx if b != n.msg[i].mb]
                if o: n.move(i, rnd.choice(o)); gone.setdefault(i, []).append(None)
        elif r < .92: n.create(rnd.choice(['Arc', 'Work', 'Junk']))
        else:
            o = [b for b in bx if b != INBOX]
            if o:
                b = rnd.choice(sorted(o))
                if r < .96: n.rename(b, rnd.choice(['Arc', 'Work', 'Junk', 'New']))
                else:
                    for k in n.delete(b): gone.setdefault(k, []).append(n.msg[k].loc[0])
    shape = rnd.choice(['mesh', 'chain', 'star'])
    pairs = {'mesh': [(a, b) for a in range(nn) for b in range(nn) if a != b],
             'chain': [(a, a + 1) for a in range(nn - 1)] + [(a + 1, a) for a in range(nn - 1)],
             'star': [(0, b) for b in range(1, nn)] + [(b, 0) for b in range(1, nn)]}[shape]
    snaps = {}; incarnation = [100]
    def restore(k):
        old = N[k]; n = copy.deepcopy(snaps[k]); incarnation[0] += 1; n.nid = incarnation[0]; n.last = max(n.last, old.last)   # wall clock went on
        # what only the lost copy had is lost with it
        others = set().union(*[set(x.msg) for j, x in enumerate(N) if j != k]) | set(n.msg)
        for i in list(acked):
            if i not in others: acked.discard(i); lostinst.add(i)
        for key in list(fl): fl.pop(key) if key[0] in old.msg else None
        for i in old.msg: forgiven.add(i)
        N[k] = n
        for j, a in enumerate(N): a.common.pop(old.nid, None)
        for p in [x for x in pairs if x[0] == k]:
            exchange(N[p[0]], N[p[1]], rnd)      # takes in a peer's copy before it serves
            break
    for _ in range(rnd.randint(5, 80)):
        if rnd.random() < .04:
            k = rnd.randrange(nn)
            if k in snaps and rnd.random() < .5: restore(k); snaps.pop(k)
            else: snaps[k] = copy.deepcopy(N[k])
            continue
        if rnd.random() < .05: rnd.choice(N).expire(rnd.choice([0, 5, 30])); continue
        if rnd.random() < .7: op(rnd.choice(N))
        else:
            a, b = rnd.choice(pairs)
            exchange(N[a], N[b], rnd, race=op if rnd.random() < .4 else None, lose=rnd.random() < .2)
    rounds = 0
    while True:
        rounds += 1; rnd.shuffle(pairs)
        for a, b in pairs: exchange(N[a], N[b], rnd)
        if all(N[0].state() == n.state() for n in N[1:]): break
        assert rounds <= nn + 2, 'P6 no convergence'
    S = N[0]
    for i in acked:
        if i in forgiven: continue
        if i not in gone: assert i in S.msg and S.msg[i].mb, f'P1 {i} lost'
        elif i not in S.msg: assert all(i not in n.msg or not n.msg[i].mb for n in N), f'P1 {i} unknown'
        elif S.msg[i].mb is None and None in gone[i] + [None]: pass
        elif S.msg[i].mb is None: assert S.msg[i].loc[0] in gone[i], f'P1 {i} gone but not expunged by a user'
    for i, m in S.msg.items():
        if m.mb: assert not S.box[m.mb].dead, f'P1 {i} in dead mailbox'
    for (i, f), hist in fl.items():
        if i in S.msg and S.msg[i].mb and i not in forgiven | EXPIRED: assert S.msg[i].flags[f] == max(hist), f'P7 {i} {f}'
    for k, hist in sets.items():
        if k != DELETED and not forgiven and ' (conflict ' not in k[2]: assert S.reg[k].st == max(hist, key=lambda x: x[0])[0], f'P7 {k}'
    nm = [S.box[i].name[1] for i in S.boxes()]; assert len(nm) == len(set(nm)), 'names not unique'
    return rounds

def main(args):
    global CASES
    program = None
    if args and args[0] == '--check': program, CASES, args = args[1], [], args[2:]
    count = int(args[0]) if args else 2000
    nn = int(args[1]) if len(args) > 1 else 3
    s0 = int(args[2]) if len(args) > 2 else 1
    worst, bad = 0, {}
    for s in range(s0, s0 + count):
        try: worst = max(worst, run(s, nn))
        except AssertionError as e: bad.setdefault(str(e).split()[0], []).append((s, str(e)))
        except Exception as e: bad.setdefault(type(e).__name__, []).append((s, repr(e)))
    for k, v in bad.items(): print(k, len(v), v[:4])
    print(f'{count} schedules, {nn} nodes, worst rounds {worst}, failures {sum(map(len, bad.values()))}, {STAT}')
    if program and subprocess.run([program], input=''.join(CASES).encode()).returncode: return 1
    return 1 if bad else 0

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
