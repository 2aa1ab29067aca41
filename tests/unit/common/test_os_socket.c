// SPDX-License-Identifier: GPL-2.0-or-later
/* Sockets over loopback: connecting, refusals, waiting, shutting down. */
#include "common/os_socket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/os_clock.h"
#include "common/os_thread.h"

static uint64_t patience(void)
{
	return os_monotonic_ns() + 20 * NS_PER_S;
}

static os_socket_t listen_on(const char *address)
{
	os_socket_t listener;
	struct fault fault = {0};

	if (os_socket_listen(address, 0, &listener, &fault) != 0)
		fail_msg("%s", fault.text);
	return listener;
}

static void bytes_go_from_end_to_end(void **state)
{
	os_socket_t listener = listen_on("127.0.0.1"), client, server;
	char peer[80] = "", data[8] = "";

	(void)state;
	assert_int_equal(os_socket_connect("localhost", os_socket_port(listener), patience(),
					   &client, NULL),
			 0);
	assert_int_equal(os_socket_accept(listener, 20 * NS_PER_S, &server, peer, sizeof(peer)), 0);
	assert_int_equal(strncmp(peer, "127.0.0.1:", 10), 0);
	assert_int_equal(os_socket_receive(server, data, sizeof(data)), -EAGAIN);
	assert_int_equal(os_socket_send(client, "hello", 5), 5);
	assert_int_equal(os_socket_wait(server, OS_WAIT_READ, patience()), OS_WAIT_READ);
	assert_int_equal(os_socket_receive(server, data, sizeof(data)), 5);
	assert_string_equal(data, "hello");
	assert_int_equal(os_socket_wait(client, OS_WAIT_READ | OS_WAIT_WRITE, patience()),
			 OS_WAIT_WRITE);
	os_socket_close(client);
	assert_int_equal(os_socket_wait(server, OS_WAIT_READ, patience()), OS_WAIT_READ);
	assert_int_equal(os_socket_receive(server, data, sizeof(data)), 0);
	os_socket_close(server);
	os_socket_close(listener);
}

static void all_addresses_take_ipv4_and_say_it_plainly(void **state)
{
	os_socket_t listener = listen_on(""), client, server;
	char peer[80] = "";

	(void)state;
	assert_int_equal(os_socket_connect("127.0.0.1", os_socket_port(listener), patience(),
					   &client, NULL),
			 0);
	assert_int_equal(os_socket_accept(listener, 20 * NS_PER_S, &server, peer, sizeof(peer)), 0);
	assert_int_equal(strncmp(peer, "127.0.0.1:", 10), 0);
	os_socket_close(client);
	os_socket_close(server);
	os_socket_close(listener);
}

static void assert_connect_says(const char *host, uint16_t port, int error, const char *words)
{
	os_socket_t client = OS_SOCKET_NONE;
	struct fault fault = {0};

	assert_int_equal(os_socket_connect(host, port, patience(), &client, &fault), -error);
	print_message("    %s\n", fault.text);
	assert_int_equal(fault.class, FAULT_RETRY);
	assert_non_null(strstr(fault.text, words));
	assert_non_null(strstr(fault.text, host));
	assert_int_equal(client, OS_SOCKET_NONE);
}

static void why_it_cannot_connect_is_said(void **state)
{
	os_socket_t listener = listen_on("127.0.0.1");
	uint16_t port = os_socket_port(listener);

	(void)state;
	os_socket_close(listener);
	assert_connect_says("127.0.0.1", port, ECONNREFUSED, "connection refused");
	assert_connect_says("host.invalid", 1, EHOSTUNREACH, "no such host");
}

/* A backlog of its own size that nobody accepts from: further connections hang. */
static void connecting_ends_at_the_deadline(void **state)
{
	os_socket_t listener = listen_on("127.0.0.1"), clients[200];
	uint16_t port = os_socket_port(listener);
	struct fault fault = {0};
	unsigned int count = 0;
	int error = 0;

	(void)state;
	while (!error && count < 200) {
		error = os_socket_connect("127.0.0.1", port, os_monotonic_ns() + 50 * NS_PER_MS,
					  &clients[count], &fault);
		count += !error;
	}
	assert_int_equal(error, -ETIMEDOUT);
	assert_non_null(strstr(fault.text, "timed out"));
	while (count > 0)
		os_socket_close(clients[--count]);
	os_socket_close(listener);
}

static void a_port_that_is_taken_is_said(void **state)
{
	os_socket_t first = listen_on("127.0.0.1"), second;
	struct fault fault = {0};

	(void)state;
	assert_int_equal(os_socket_listen("127.0.0.1", os_socket_port(first), &second, &fault),
			 -EADDRINUSE);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_non_null(strstr(fault.text, "another program has that port"));
	assert_true(os_socket_listen("nonsense.invalid", 0, &second, &fault) < 0);
	os_socket_close(first);
}

static void accepting_ends_at_its_timeout(void **state)
{
	os_socket_t listener = listen_on("127.0.0.1"), server;

	(void)state;
	assert_int_equal(os_socket_accept(listener, 10 * NS_PER_MS, &server, NULL, 0), -ETIMEDOUT);
	os_socket_close(listener);
}

struct waiter {
	os_socket_t socket;
	int error;
};

static void accept_one(void *argument)
{
	struct waiter *waiter = argument;
	os_socket_t server;

	waiter->error = os_socket_accept(waiter->socket, 20 * NS_PER_S, &server, NULL, 0);
}

static void shutting_a_listener_down_ends_accepting(void **state)
{
	struct waiter waiter = {.socket = listen_on("127.0.0.1")};
	struct os_thread thread;

	(void)state;
	assert_int_equal(os_thread_start(&thread, "accept", accept_one, &waiter), 0);
	os_socket_shutdown(waiter.socket);
	os_thread_join(&thread);
	assert_int_equal(waiter.error, -ECANCELED);
	os_socket_close(waiter.socket);
}

static void wait_for_read(void *argument)
{
	struct waiter *waiter = argument;

	waiter->error = os_socket_wait(waiter->socket, OS_WAIT_READ, 0);
}

static void shutting_a_socket_down_ends_waiting_and_raises_no_signal(void **state)
{
	os_socket_t listener = listen_on("127.0.0.1"), client, server;
	struct os_thread thread;
	struct waiter waiter;

	(void)state;
	assert_int_equal(os_socket_connect("127.0.0.1", os_socket_port(listener), patience(),
					   &client, NULL),
			 0);
	assert_int_equal(os_socket_accept(listener, 20 * NS_PER_S, &server, NULL, 0), 0);
	waiter.socket = client;
	assert_int_equal(os_thread_start(&thread, "wait", wait_for_read, &waiter), 0);
	os_socket_shutdown(client);
	os_thread_join(&thread);
	assert_int_equal(waiter.error, OS_WAIT_READ);
	assert_int_equal(os_socket_send(client, "x", 1), -EPIPE); /* SIGPIPE would end the test */
	os_socket_close(client);
	os_socket_close(server);
	os_socket_close(listener);
	os_socket_close(OS_SOCKET_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_from_end_to_end),
		cmocka_unit_test(all_addresses_take_ipv4_and_say_it_plainly),
		cmocka_unit_test(why_it_cannot_connect_is_said),
		cmocka_unit_test(connecting_ends_at_the_deadline),
		cmocka_unit_test(a_port_that_is_taken_is_said),
		cmocka_unit_test(accepting_ends_at_its_timeout),
		cmocka_unit_test(shutting_a_listener_down_ends_accepting),
		cmocka_unit_test(shutting_a_socket_down_ends_waiting_and_raises_no_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
