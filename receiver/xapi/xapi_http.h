/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One POST to XAPI over HTTPS or its unix socket, with libcurl. Only files in receiver/xapi include this. */
#ifndef BLKFERRY_RECEIVER_XAPI_XAPI_HTTP_H
#define BLKFERRY_RECEIVER_XAPI_XAPI_HTTP_H

#include "receiver/xapi/xapi.h"

struct xapi_http;

int xapi_http_new(const struct xapi_options *options, struct xapi_http **ret_http,
		  struct fault *fault);
void xapi_http_free(struct xapi_http *http);
/* From now on this host is asked: the pool's coordinator. -EINVAL when that cannot be a host. */
int xapi_http_move(struct xapi_http *http, const char *host);
const char *xapi_http_host(const struct xapi_http *http);
/* may_repeat: it changes nothing. Others get a connection of their own: libcurl would send them once more when one that
 * was used before is closed without an answer.
 * ret_text: the body of a 200 answer, owned by http, valid until the next call. */
int xapi_http_post(struct xapi_http *http, const char *body, bool may_repeat, uint64_t timeout_ns,
		   const char **ret_text, size_t *ret_size, struct fault *fault);
/* Is it a list of SHA-256 sums? */
bool xapi_fingerprints_are_valid(const char *list);

#endif
