/* SPDX-License-Identifier: Apache-2.0 */
/* The power button and the change of the generation raise their own lines, and only when they are due. */
#include "tests/guests/guest.h"

#define GSI_GENERATION 5u
#define GSI_BUTTON 6u

void test(const uint32_t *info)
{
	(void)info;
	irq_watch(GSI_GENERATION);
	irq_watch(GSI_BUTTON);
	check(!irq_seen(GSI_BUTTON), "nobody has pressed the button yet");
	say("press\n");
	check(irq_wait(GSI_BUTTON), "the button is pressed");
	check(!irq_seen(GSI_GENERATION), "the generation is the same");
}
