/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of XAPI, the management interface of XCP-ng and XenServer: JSON-RPC over HTTPS, or over XAPI's
 * unix socket in dom0. A struct xapi is one session with one pool, used by one thread at a time.
 *
 * Taken care of here: a host that is not the pool's coordinator (HOST_IS_SLAVE: the call goes there), a
 * session that has ended (SESSION_INVALID: logs in again, the call is repeated: it was not executed), tasks,
 * and what an error means to a person. A call whose answer got lost is never repeated: nobody knows
 * whether it was executed.
 */
#ifndef BLKFERRY_RECEIVER_XAPI_XAPI_H
#define BLKFERRY_RECEIVER_XAPI_XAPI_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fault.h"

#define XAPI_NULL	  "OpaqueRef:NULL"
#define XAPI_REF_MAX	  128		      /* bytes of a reference or UUID, NUL included */
#define XAPI_TEXT_MAX	  512		      /* other texts */
#define XAPI_REQUEST_MAX  (300u * 1024)	      /* what XAPI takes */
#define XAPI_RESPONSE_MAX (16u * 1024 * 1024) /* I10: what is taken from it */

struct xapi_options {
	const char *host;	   /* NAME[:PORT], ADDRESS[:PORT], [IPv6][:PORT], or unix:/PATH */
	const char *user;	   /* unix: may be NULL */
	const char *password_file; /* its first line; unix: may be NULL */
	/* SHA-256 of certificates that are accepted, in hexadecimal with or without colons, several with commas
	 * between them (each host of a pool has its own). NULL: a CA must have signed it, for this name. */
	const char *fingerprint;
	const char *ca_file; /* NULL: those of the system */
	/* When it becomes true, calls end within a second or two: STOP, ECANCELED. NULL: never. */
	const atomic_bool *is_over;
};

struct xapi;

/* Checks the options and logs in. Faults: STOP for what a person has to change, RETRY for what may pass. */
int xapi_open(const struct xapi_options *options, struct xapi **ret_xapi, struct fault *fault);
/* Can these options be right? Opens nothing. Fault STOP. */
int xapi_check_options(const struct xapi_options *options, struct fault *fault);
void xapi_close(struct xapi *xapi); /* logs out; NULL is fine */

/* Calls method ("VDI.create") with the session and params, an array or NULL, whose reference is taken.
 * ret_result may be NULL. On failure xapi_error_is tells which error it was. */
int xapi_call(struct xapi *xapi, const char *method, json_t *params, json_t **ret_result,
	      struct fault *fault);
/* The same with params from a format of json_pack, such as "[s, {s:s}]"; NULL: none. */
int xapi_callf(struct xapi *xapi, json_t **ret_result, struct fault *fault, const char *method,
	       const char *format, ...);
/* The last call failed with this error of XAPI's, such as "VDI_IN_USE". */
bool xapi_error_is(const struct xapi *xapi, const char *code);

/* xapi_call.c */

/* Runs method as a task and waits for its end. ret_text: what it returned, "" if nothing; may be NULL. At the
 * timeout it is cancelled, and the fault is RETRY, ETIMEDOUT. */
int xapi_run(struct xapi *xapi, const char *method, json_t *params, uint64_t timeout_ns,
	     char *ret_text, size_t size, struct fault *fault);
/* Calls of which the result is a text, a number, or a switch. -EPROTO when it is not. */
int xapi_get_text(struct xapi *xapi, const char *method, const char *ref, char *ret_text,
		  size_t size, struct fault *fault);
int xapi_get_number(struct xapi *xapi, const char *method, const char *ref, uint64_t *ret_number,
		    struct fault *fault);
int xapi_get_switch(struct xapi *xapi, const char *method, const char *ref, bool *ret_switch,
		    struct fault *fault);
/* Finds an object of a class ("SR") by UUID or, when it is none, by its name, which must be that of one
 * object only. Fault STOP when there is none. */
int xapi_find(struct xapi *xapi, const char *class, const char *text, char *ret_ref,
	      struct fault *fault);

/* xapi_error.c: what an error says to a person. params: array of texts, or NULL. Returns -errno. */
int xapi_error_to_fault(const char *method, const char *code, const json_t *params,
			struct fault *fault);

#endif
