#!/usr/bin/env python3
"""The limits of the source text: layers, sizes, nesting, globals, left-over words.

Prints one line for each breach. `Rules` below bite on known bad examples before the tree is read.
"""

import glob
import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Lowest first; a folder includes only itself and lower ones. Those of one row are siblings, and do
# not include each other.
LAYERS = [
    ["base"],
    ["kv"],
    ["store"],
    ["mail"],
    ["sync"],
    ["net"],
    ["backup"],
    ["sieve"],
    ["imap", "lmtp", "pop3", "managesieve", "http", "csync"],
    ["foreign"],
    ["chapard"],
    ["chapar"],
]
RANK = {folder: rank for rank, row in enumerate(LAYERS) for folder in row}

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 1000
LINE_COLUMNS_MAX = 100
NESTING_MAX = 5
TAB_COLUMNS = 8
# What belongs to the process as a whole, and is safe from any thread.
# The second is each thread's own.
GLOBALS_ALLOWED = {("src/base/log.c", "lowest_level"), ("src/store/store_group.c", "own")}
LEFT_OVER_WORDS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")


def blank_text(source):
    """`source` with the insides of comments, strings and characters as spaces; same length."""
    out = []
    pattern = re.compile(
        r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|[^/\"']+|.", re.S
    )
    for token in pattern.findall(source):
        if token[:2] in ("/*", "//") or (token[0] in "\"'" and len(token) > 1):
            out.append(re.sub(r"[^\n]", " ", token))
        else:
            out.append(token)
    return "".join(out)


def without_directives(code):
    """`code` with its preprocessor lines blank, continuation lines too."""
    return re.sub(r"(?m)^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m[0]), code)


def check_layers(path, source):
    folder = path.split("/")[1] if path.startswith("src/") else None
    if folder is None:
        return
    if folder not in RANK:
        yield 1, "folder %s has no place among the layers" % folder
        return
    for number, line in enumerate(source.split("\n"), 1):
        found = re.match(r'\s*#\s*include\s+"([^"/]+)/', line)
        if not found or found.group(1) == folder:
            continue
        other = found.group(1)
        if other not in RANK:
            yield number, "includes the unknown folder %s" % other
        elif RANK[other] >= RANK[folder]:
            yield number, "%s includes %s, which is not below it" % (folder, other)


def check_lines(path, source):
    lines = source.split("\n")
    limit = FILE_LINES_MAX + 1  # the text after the last newline counts as one
    if len(lines) > limit:
        yield limit, "the file is longer than %d lines" % FILE_LINES_MAX
    for number, line in enumerate(lines, 1):
        if len(line.expandtabs(TAB_COLUMNS)) > LINE_COLUMNS_MAX:
            yield number, "the line is longer than %d columns" % LINE_COLUMNS_MAX
        if LEFT_OVER_WORDS.search(line):
            yield number, "a left-over word: " + LEFT_OVER_WORDS.search(line).group(0)


def top_level_blocks(code):
    """(first line, last line, text before the brace, deepest nesting) of each top-level {...}."""
    depth, deepest, line, begin, head_start = 0, 0, 1, 0, 0
    head = ""
    for at, char in enumerate(code):
        if char == "\n":
            line += 1
        elif char == "{":
            if depth == 0:
                begin, head, deepest = line, code[head_start:at], 0
            depth += 1
            deepest = max(deepest, depth)
        elif char == "}":
            depth -= 1
            if depth == 0:
                yield begin, line, head.strip(), deepest
                head_start = at + 1
        elif char == ";" and depth == 0:
            head_start = at + 1


def check_functions(path, source):
    for begin, end, head, deepest in top_level_blocks(without_directives(blank_text(source))):
        if not head.endswith(")"):
            continue
        name = re.search(r"(\w+)\s*\(", head)
        name = name.group(1) if name else head
        if end - begin + 1 > FUNCTION_LINES_MAX:
            yield begin, "%s() has %d lines, more than %d" % (
                name, end - begin + 1, FUNCTION_LINES_MAX)
        if deepest > NESTING_MAX:
            yield begin, "%s() nests %d deep, more than %d" % (name, deepest, NESTING_MAX)


def declarations(code):
    """(line, text) of every declaration outside functions, initializers left out."""
    depth, line, text, start = 0, 1, "", 1
    for char in code:
        if char == "\n":
            line += 1
        if char == "{":
            depth += 1
            if depth == 1:
                text += "{}"
            continue
        if char == "}":
            depth -= 1
            if depth == 0 and re.search(r"\)\s*\{\}$", text):
                text = ""  # a function's body: no semicolon follows
            continue
        if depth:
            continue
        if char == ";":
            yield start, text.strip()
            text = ""
        elif text.strip() or not char.isspace():
            if not text.strip():
                start, text = line, ""
            text += char


def is_mutable(text):
    """Whether the variable that the declaration `text` makes can be changed."""
    left = text.split("=")[0]
    if left.startswith(("typedef", "extern", "static_assert", "_Static_assert")):
        return False
    pointer = re.search(r"\*([^*]*)$", left)
    qualifiers = pointer.group(1) if pointer and "{" not in pointer.group(1) else left
    return not re.search(r"\bconst\b", qualifiers)


def check_globals(path, source):
    """No mutable variable with static life outside src/chapard, in or out of functions."""
    if not path.startswith("src/") or path.startswith("src/chapard/"):
        return
    code = without_directives(blank_text(source))
    for line, text in declarations(code):
        is_type = re.match(r"(static\s+)?(const\s+)?(struct|union|enum)\s*\w*\s*(\{\})?$", text)
        is_prototype = "=" not in text and re.search(r"\)(\s*__attribute__.*)?$", text)
        # A header's `handler name;` declares a function by its type, as a table of handlers does.
        is_typed_prototype = path.endswith(".h") and re.match(r"\w+\s+\w+$", text)
        if not text or is_type or is_prototype or is_typed_prototype:
            continue
        name = re.search(r"(\w+)[\s\[\]]*$", text.split("=")[0])
        if name and (path, name.group(1)) in GLOBALS_ALLOWED:
            continue
        if is_mutable(text):
            yield line, "a mutable global: " + " ".join(text.split())[:60]
    for found in re.finditer(r"(?m)^[ \t]+static\s+(?!inline)([^;{=()]*?[\w\]])\s*[;=]", code):
        if is_mutable(found.group(0).strip().rstrip(";=")):
            yield code.count("\n", 0, found.start()) + 1, "a mutable static variable in a function"


CHECKS = [check_layers, check_lines, check_functions, check_globals]


def breaches(path, source):
    found = []
    for check in CHECKS:
        found += ["%s:%d: %s" % (path, line, text) for line, text in check(path, source)]
    return found


def source_files():
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
        ).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        # An unpacked archive: no git.
        listed = [
            os.path.relpath(os.path.join(folder, name), ROOT)
            for part in ("src", "tests", "bench")
            for folder, _, names in os.walk(os.path.join(ROOT, part))
            for name in names
        ]
    return sorted(
        path for path in listed
        if path.startswith(("src/", "tests/", "bench/")) and path.endswith((".c", ".h"))
        and os.path.exists(os.path.join(ROOT, path))
    )


class Rules(unittest.TestCase):
    """Each rule must bite on what it forbids and leave alone what it does not."""

    def bites(self, path, source, word):
        self.assertTrue(any(word in text for text in breaches(path, source)), breaches(path, source))

    def passes(self, path, source):
        self.assertEqual(breaches(path, source), [])

    def test_an_upward_include_is_found(self):
        self.bites("src/kv/a.c", '#include "store/log.h"\n', "not below")
        self.bites("src/imap/a.c", '#include "lmtp/lmtp.h"\n', "not below")
        self.passes("src/store/a.c", '#include "kv/kv.h"\n#include "store/log.h"\n')

    def test_a_folder_outside_the_layers_is_found(self):
        self.bites("src/base/a.c", '#include "misc/x.h"\n', "unknown folder")
        self.bites("src/misc/a.c", "\n", "no place")

    def test_a_long_function_is_found(self):
        body = "\ta();\n"
        self.bites("src/kv/a.c", "int f(void)\n{\n" + body * 69 + "}\n", "more than 70")
        self.passes("src/kv/a.c", "int f(void)\n{\n" + body * 68 + "}\n")

    def test_braces_in_text_do_not_hide_a_function(self):
        source = "int f(void)\n{\n\tg(\"}\", '}'); /* } */\n" + "\ta();\n" * 70 + "}\n"
        self.bites("src/kv/a.c", source, "more than 70")

    def test_a_long_file_is_found(self):
        self.bites("src/kv/a.c", "/* */\n" * 1001, "longer than 1000")
        self.passes("src/kv/a.c", "/* */\n" * 1000)

    def test_a_long_line_is_found_with_tabs_as_eight_columns(self):
        self.bites("src/kv/a.h", "\t/* " + "x" * 90 + " */\n", "100 columns")
        self.passes("src/kv/a.h", "\t/* " + "x" * 80 + " */\n")

    def test_deep_nesting_is_found(self):
        self.bites("src/kv/a.c", "int f(void)\n{" + "if (x) {" * 5 + "}" * 5 + "}\n", "nests 6")
        self.passes("src/kv/a.c", "int f(void)\n{" + "if (x) {" * 4 + "}" * 4 + "}\n")

    def test_a_mutable_global_is_found(self):
        self.bites("src/kv/a.c", "static int count;\n", "mutable global")
        self.bites("src/kv/a.c", "static const char *name = NULL;\n", "mutable global")
        self.bites("src/kv/a.c", "struct kv cache[4] = { { 1 } };\n", "mutable global")
        self.bites("src/kv/a.c", "int f(void)\n{\n\tstatic int n;\n}\n", "mutable static")

    def test_constants_types_and_prototypes_are_no_globals(self):
        self.passes("src/kv/a.c", "static const int table[] = { 1, 2 };\n")
        self.passes("src/kv/a.c", "static const char *const names[] = { \"a\" };\n")
        self.passes("src/kv/a.c", "struct kv;\nstruct pair {\n\tint a;\n};\nenum x { A, B };\n")
        self.passes("src/kv/a.c", "int f(int a);\nstatic int g(void)\n{\n\treturn 1;\n}\n")
        self.passes("src/kv/a.c", "void f(const char *format, ...) __attribute__((noreturn));\n")
        self.passes("src/kv/a.h", "kv_handler kv_get;\n")
        self.passes("src/kv/a.c", 'static_assert(A >= 2 * B, "room for both");\n')
        self.passes("src/chapard/a.c", "static int stopping;\n")

    def test_a_left_over_word_is_found(self):
        self.bites("src/kv/a.c", "/* TO" + "DO later */\n", "left-over")


class Tree(unittest.TestCase):
    def test_every_announced_capability_is_listed_with_its_rfc(self):
        with open(os.path.join(ROOT, "src/imap/imap_capability.c"), encoding="utf-8") as source:
            announced = set(re.findall(r"[A-Z0-9][A-Za-z0-9=+-]+", " ".join(
                re.findall(r'"((?: ?[A-Z][A-Za-z0-9=+-]+=?)+)', source.read()))))
        with open(os.path.join(ROOT, "docs/imap.md"), encoding="utf-8") as document:
            rows = [line for line in document if line.startswith("|")]
        self.assertGreater(len(announced), 50)
        for name in announced:
            word = r"`%s(`|=1`|=`)" % re.escape(name.rstrip("="))
            row = [line for line in rows if re.search(word, line)]
            self.assertTrue(row, name)
            self.assertRegex(row[0], r"\d{4}|protocol", name)
            dialogues = re.split(r"[,;] ", row[0].split("|")[-2].strip())
            for dialogue in dialogues:
                path = os.path.join(ROOT, "tests/imap", dialogue + ".txt")
                self.assertTrue(os.path.exists(path), path)

    def test_every_word_of_the_wire_is_in_the_protocol_document(self):
        with open(os.path.join(ROOT, "docs/protocol.md"), encoding="utf-8") as file:
            known = set(re.findall(r"[A-Z]{2,}", file.read()))
        for path in sorted(glob.glob(os.path.join(ROOT, "src/sync/*.c"))):
            with open(path, encoding="utf-8") as file:
                words = set(re.findall(r'"([A-Z]{2,})"', file.read()))
            # The first bytes of a bundle's file stand in its header.
            self.assertLessEqual(words - {"CHAPARBN"}, known, os.path.basename(path))

    def test_the_sources_keep_the_rules(self):
        files = source_files()
        self.assertTrue(files, "no sources found")
        found = []
        for path in files:
            with open(os.path.join(ROOT, path), encoding="utf-8") as source:
                found += breaches(path, source.read())
        if found:
            print("\n".join(found))
        self.assertEqual(len(found), 0, "%d breaches of the rules" % len(found))


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False, verbosity=1).result.wasSuccessful())
