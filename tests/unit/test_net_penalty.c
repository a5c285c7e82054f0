#include "net/net_crowd_private.h"
#include "net/net_penalty_private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

static struct sockaddr_storage address_of(const char *text)
{
	struct sockaddr_storage address = { 0 };
	struct sockaddr_in *four = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;

	if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
		address.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
		address.ss_family = AF_INET6;
	return address;
}

static uint64_t key_of(const struct net_penalties *penalties, const char *text)
{
	struct sockaddr_storage address = address_of(text);

	return net_penalty_key(penalties, (struct sockaddr *)&address);
}

static void failed_logins_make_an_address_wait_longer_and_time_heals(void **state)
{
	struct net_penalties penalties;
	uint64_t one, other, now_ms = 1000000;

	(void)state;
	net_penalties_init(&penalties);
	one = key_of(&penalties, "192.0.2.1");
	other = key_of(&penalties, "192.0.2.2");
	assert_int_equal(one, key_of(&penalties, "::ffff:192.0.2.1"));
	assert_int_equal(key_of(&penalties, "2001:db8::1"), key_of(&penalties, "2001:db8::2"));
	assert_true(key_of(&penalties, "2001:db8::1") != key_of(&penalties, "2001:db8:0:1::1"));
	assert_int_equal(key_of(&penalties, "127.0.0.1"), 0);
	assert_int_equal(key_of(&penalties, "::1"), 0);
	assert_int_equal(net_penalty_add(&penalties, 0, now_ms), 0);

	assert_int_equal(net_penalty_get(&penalties, one, now_ms), 0);
	assert_int_equal(net_penalty_add(&penalties, one, now_ms), 500);
	assert_int_equal(net_penalty_add(&penalties, one, now_ms), 1000);
	for (int i = 0; i < 10; i++)
		net_penalty_add(&penalties, one, now_ms);
	assert_int_equal(net_penalty_get(&penalties, one, now_ms), 8000);
	assert_int_equal(net_penalty_get(&penalties, other, now_ms), 0);
	assert_int_equal(net_penalty_get(&penalties, one, now_ms + 2 * 60000), 2000);
	assert_int_equal(net_penalty_get(&penalties, one, now_ms + 5 * 60000), 0);
	net_penalty_forgive(&penalties, other);
	assert_int_equal(net_penalty_get(&penalties, one, now_ms), 8000);
	net_penalty_forgive(&penalties, one);
	assert_int_equal(net_penalty_get(&penalties, one, now_ms), 0);
	net_penalties_deinit(&penalties);
}

static void an_address_has_no_more_clients_than_are_allowed(void **state)
{
	struct net_crowd crowd;

	(void)state;
	net_crowd_init(&crowd);
	assert_true(net_crowd_enter(&crowd, 77777777777, 2));
	assert_true(net_crowd_enter(&crowd, 77777777777, 2));
	assert_false(net_crowd_enter(&crowd, 77777777777, 2));
	assert_true(net_crowd_enter(&crowd, 99999999999, 2));
	net_crowd_leave(&crowd, 77777777777);
	assert_true(net_crowd_enter(&crowd, 77777777777, 2));
	assert_true(net_crowd_enter(&crowd, 77777777777, 0)); /* no limit */
	for (int i = 0; i < 5; i++)
		assert_true(net_crowd_enter(&crowd, 0, 1)); /* not counted */
	net_crowd_leave(&crowd, 0);
	net_crowd_deinit(&crowd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failed_logins_make_an_address_wait_longer_and_time_heals),
		cmocka_unit_test(an_address_has_no_more_clients_than_are_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
