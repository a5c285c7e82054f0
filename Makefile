# Chapar. A newcomer needs two of these, on a fresh Debian 12: `make run` and `make test`.
# The others: make (build), format, format-check, lint, bench, install, clean; cut and heal (of `make run`).

BUILD = build
BUILD_TEST = build-test
BUILD_CLANG = build-clang
POSTFIX = .deps/postfix
CYRUS = .deps/cyrus
# With the libraries that it needs and a machine without it has not.
CYRUS_PACKAGES = cyrus-imapd cyrus-common libical3 libclamav12 libzephyr4 libxapian30 libpq5 \
	libwrap0 libtfm1 libmspack0 libllvm14 libjson-c5 libpcre3 libsqlite3-0 libxml2 libldap-2.5-0 \
	libhesiod0 libltdl7 libpcre2-8-0 libjansson4
IMAPFLOW = tests/system/imapflow
S3RVER = tests/system/s3rver
C_SOURCES = find src tests bench -name node_modules -prune -o -name '*.[ch]' -print
prefix = /usr/local

.PHONY: build run cut heal test lint tidy format format-check bench install clean \
	build-packages test-packages check-packages

build: build-packages
	@test -f $(BUILD)/build.ninja || \
		meson setup $(BUILD) --buildtype=debugoptimized --prefix=$(prefix)
	@ninja -C $(BUILD)

# Two nodes on this machine that replicate to each other, with a user and some mail.
run: build
	@exec python3 tools/demo.py --build $(BUILD) --folder .run

# The link between the two nodes of a running `make run`.
cut:
	@python3 tools/demo.py --folder .run --cut
heal:
	@python3 tools/demo.py --folder .run --heal

# Everything, under the address and undefined behaviour sanitizers. The last line tells the result.
test: test-packages
	@test -f $(BUILD_TEST)/build.ninja || \
		meson setup $(BUILD_TEST) -Db_sanitize=address,undefined -Db_lundef=false
	@ninja -C $(BUILD_TEST)
	@meson test -C $(BUILD_TEST) --no-rebuild --print-errorlogs; \
		python3 tools/test_summary.py $(BUILD_TEST)/meson-logs/testlog.json

# The same sources under clang's warnings, and the project's own limits.
lint: check-packages
	@test -f $(BUILD_CLANG)/build.ninja || CC=clang meson setup $(BUILD_CLANG) -Dwerror=true
	@ninja -C $(BUILD_CLANG)
	@$(MAKE) --no-print-directory tidy

tidy:
	@python3 tests/system/test_tidy.py

format: check-packages
	@$(C_SOURCES) | xargs clang-format -i

format-check: check-packages
	@$(C_SOURCES) | xargs clang-format --dry-run -Werror

# Chapar beside Cyrus and Dovecot (docs/benchmarks.md tells how to read it).
bench: build
	@bench/run.sh

install: build
	@meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf $(BUILD) $(BUILD_TEST) $(BUILD_CLANG) .run

build-packages:
	@packaging/install-packages.sh build run

test-packages:
	@packaging/install-packages.sh build run test client
	@packaging/unpack-package.sh $(CURDIR)/$(POSTFIX) usr/sbin/postfix postfix
	@packaging/unpack-package.sh $(CURDIR)/$(CYRUS) usr/lib/cyrus/bin/imapd $(CYRUS_PACKAGES) || \
		echo "Cyrus could not be fetched: the tests with it are skipped."
	@test -d $(IMAPFLOW)/node_modules/imapflow || \
		npm ci --prefix $(IMAPFLOW) --no-audit --no-fund --loglevel=error \
			--fetch-retries=1 --fetch-timeout=60000 </dev/null || \
		echo "ImapFlow could not be fetched: the test with it is skipped."
	@test -d $(S3RVER)/node_modules/s3rver || \
		npm ci --prefix $(S3RVER) --no-audit --no-fund --loglevel=error \
			--fetch-retries=1 --fetch-timeout=60000 </dev/null || \
		echo "s3rver could not be fetched: the test with it is skipped."

check-packages:
	@packaging/install-packages.sh build check
