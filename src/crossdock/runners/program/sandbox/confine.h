/* What a box needs that has no namespaces around it: the program must be held by what it is, and be found to be ended. */
#ifndef CROSSDOCK_CONFINE_H
#define CROSSDOCK_CONFINE_H

struct confinement {
    int user;          /* whose processes there are in the box and nowhere else; -1: ours */
    const char *start; /* directory to start in */
    int ruleset;       /* descriptor of Landlock's rules; -1: none */
    int filter;        /* descriptor from which the filter of system calls can be read; -1: none */
};

/* Take over processes of the box whose parents have ended. */
void take_over(void);

/* Become what the program may be. Returns the name of the step that failed, with errno, or NULL. */
const char *confine(const struct confinement *box);

/* Send SIGKILL to every process of the box that can be found now. */
void end_all(const struct confinement *box);

#endif
