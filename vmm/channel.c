/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/channel.h"

#include <errno.h>
#include <stddef.h>

#include "core/base/fd.h"
#include "core/base/str.h"

void channel_close(struct channel **c)
{
	struct channel *it = steal_ptr(c);

	if (!it)
		return;
	if (it->lanes > 0)
		fd_close(&it->memory);
	while (it->lanes > 0)
		close(it->lane[--it->lanes]);
	it->ops->close(it);
}

int channel_listen(struct channel *c, uint32_t port_min, uint32_t port_max, channel_accept fn, void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->listener); i++) {
		if (c->listener[i].fn)
			continue;
		c->listener[i].port_min = port_min;
		c->listener[i].port_max = port_max;
		c->listener[i].fn = fn;
		c->listener[i].arg = arg;
		return 0;
	}
	return -ENOSPC;
}

void channel_unlisten(struct channel *c, const void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->listener); i++)
		if (c->listener[i].arg == arg)
			c->listener[i].fn = NULL;
}

int channel_offer(struct channel *c, uint32_t port)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->listener); i++)
		if (c->listener[i].fn && port >= c->listener[i].port_min && port <= c->listener[i].port_max)
			return c->listener[i].fn(c->listener[i].arg, port);
	return -ECONNREFUSED;
}
