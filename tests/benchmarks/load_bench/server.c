/* The benchmark server: one thread, one epoll, baked answers, each event stamped as it is handed to the kernel.

   server TOKENS INTERVAL_US [FIRST_US]

   Prints its port on 127.0.0.1. A request whose body says "stream": true gets TOKENS events, one send() each: as fast as
   the socket takes them where INTERVAL_US is 0, else the first FIRST_US after the request and the others INTERVAL_US
   apart, each at its own time. The text of an event is its stamp: CLOCK_MONOTONIC in ns, 19 digits, then a space. Any
   other POST gets a short JSON answer, a GET the list of models. Pipelining is not served. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS 65536
#define IN_BYTES 65536
#define DIGITS 19
#define SPIN_NS 30000

typedef long long ns_t;

typedef struct {
    int fd;       /* 0: not in use */
    int streams;  /* an answer is under way */
    int blocked;  /* the socket took no more: waits for EPOLLOUT */
    int place;    /* in `active` or in `heap` */
    long sent;    /* events so far */
    ns_t due;     /* of the next one */
    char *pending;
    size_t pending_len;
    size_t in_len;
    char *in;
} conn_t;

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n";
static const char BEFORE[] = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                             "\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{";
static const char ROLE[] = "\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
static const char TOKEN[] = "\"content\":\"0000000000000000000 \"},\"finish_reason\":null}]}\n\n";
static const char LAST[] = "},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":%ld,"
                           "\"total_tokens\":%ld}}\n\n";
static const char DONE[] = "data: [DONE]\n\n";

static char opening[2048], token[512], closing[2048], answer[2048], models[512];
static size_t opening_len, token_len, stamp_at, closing_len, answer_len, models_len;
static long tokens;
static ns_t interval, first;
static conn_t conns[MAX_FDS];
static conn_t *active[MAX_FDS]; /* streams without pace */
static conn_t *heap[MAX_FDS];   /* paced streams by due time */
static int active_n, heap_n, poller, timer;

static ns_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (ns_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static size_t chunk(char *out, const char *body) { return sprintf(out, "%zx\r\n%s\r\n", strlen(body), body); }

static void bake(void) {
    char body[1024];
    memcpy(opening, HEAD, sizeof HEAD);
    sprintf(body, "%s%s", BEFORE, ROLE);
    opening_len = sizeof HEAD - 1 + chunk(opening + sizeof HEAD - 1, body);
    sprintf(body, "%s%s", BEFORE, TOKEN);
    token_len = chunk(token, body);
    stamp_at = strstr(token, "\"content\":\"0") - token + 11;
    strcpy(body, BEFORE);
    sprintf(body + strlen(body), LAST, tokens, tokens + 8);
    closing_len = chunk(closing, body);
    closing_len += chunk(closing + closing_len, DONE);
    closing_len += sprintf(closing + closing_len, "0\r\n\r\n");
    const char *json = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\","
                       "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Aye.\"},"
                       "\"finish_reason\":\"stop\"}],"
                       "\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":2,\"total_tokens\":10}}";
    const char *list = "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\",\"created\":1700000000,"
                       "\"owned_by\":\"bench\"}]}";
    const char *head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s";
    answer_len = sprintf(answer, head, strlen(json), json);
    models_len = sprintf(models, head, strlen(list), list);
}

/* ---- the heap of paced streams */

static void put(int at, conn_t *c) {
    heap[at] = c;
    c->place = at;
}

static void sift(int at) {
    conn_t *c = heap[at];
    while (at > 0 && heap[(at - 1) / 2]->due > c->due) {
        put(at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (int child; (child = 2 * at + 1) < heap_n; at = child) {
        if (child + 1 < heap_n && heap[child + 1]->due < heap[child]->due) child++;
        if (heap[child]->due >= c->due) break;
        put(at, heap[child]);
    }
    put(at, c);
}

static void unschedule(conn_t *c) {
    if (!c->streams) return;
    c->streams = 0;
    if (interval || first) {
        conn_t *last = heap[--heap_n];
        if (last != c) {
            put(c->place, last);
            sift(c->place);
        }
    } else {
        active[c->place] = active[--active_n];
        active[c->place]->place = c->place;
    }
}

static void schedule(conn_t *c) {
    c->streams = 1;
    c->sent = 0;
    c->due = now_ns() + first;
    if (interval || first) {
        put(heap_n++, c);
        sift(c->place);
    } else {
        c->place = active_n;
        active[active_n++] = c;
    }
}

/* ---- sockets */

static void drop(conn_t *c) {
    unschedule(c);
    close(c->fd);
    free(c->in);
    free(c->pending);
    memset(c, 0, sizeof *c);
}

static void watch(conn_t *c) {
    struct epoll_event e = {.events = EPOLLIN | (c->blocked ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

/* What the kernel does not take waits; 0: the connection is gone. */
static int say(conn_t *c, const char *data, size_t len) {
    ssize_t n = c->pending_len ? 0 : send(c->fd, data, len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        drop(c);
        return 0;
    }
    if (n < 0) n = 0;
    if ((size_t)n < len) {
        c->pending = realloc(c->pending, c->pending_len + len - n);
        memcpy(c->pending + c->pending_len, data + n, len - n);
        c->pending_len += len - n;
        if (!c->blocked) {
            c->blocked = 1;
            watch(c);
        }
    }
    return 1;
}

static void writable(conn_t *c) {
    ssize_t n = send(c->fd, c->pending, c->pending_len, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN) drop(c);
        return;
    }
    c->pending_len -= n;
    memmove(c->pending, c->pending + n, c->pending_len);
    if (!c->pending_len) {
        c->blocked = 0;
        watch(c);
    }
}

/* One event; 0: the stream is over. */
static int stream_one(conn_t *c) {
    if (c->sent < tokens) {
        ns_t stamp = now_ns();
        for (int i = DIGITS; i-- > 0; stamp /= 10) token[stamp_at + i] = '0' + stamp % 10;
        c->sent++;
        return say(c, token, token_len);
    }
    unschedule(c);
    say(c, closing, closing_len);
    return 0;
}

static void requested(conn_t *c, size_t len) {
    if (!memcmp(c->in, "GET ", 4)) {
        say(c, models, models_len);
    } else if (memmem(c->in, len, "\"stream\":true", 13) || memmem(c->in, len, "\"stream\": true", 14)) {
        if (say(c, opening, opening_len)) schedule(c);
    } else {
        say(c, answer, answer_len);
    }
}

static void readable(conn_t *c) {
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_BYTES - 1 - c->in_len, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) drop(c);
        return;
    }
    c->in_len += n;
    c->in[c->in_len] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end) return;
    char *length = strcasestr(c->in, "\ncontent-length:");
    size_t head_len = end + 4 - c->in, len = head_len + (length && length < end ? strtoul(length + 16, 0, 10) : 0);
    if (len >= IN_BYTES) {
        drop(c);
    } else if (c->in_len >= len) {
        c->in_len = 0;
        requested(c, len);
    }
}

static void welcome(int listener) {
    for (int fd; (fd = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int one = 1;
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conns[fd] = (conn_t){.fd = fd, .in = malloc(IN_BYTES)};
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

static void pace(void) {
    for (ns_t now; heap_n && heap[0]->due <= (now = now_ns()) + SPIN_NS;) {
        conn_t *c = heap[0];
        while (now_ns() < c->due) {
        }
        c->due += interval;
        if (stream_one(c)) sift(0);
    }
    if (heap_n) {
        ns_t when = heap[0]->due - SPIN_NS;
        struct itimerspec at = {.it_value = {when / 1000000000, when % 1000000000}};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, 0);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    tokens = atol(argv[1]);
    interval = atoll(argv[2]) * 1000;
    first = argc > 3 ? atoll(argv[3]) * 1000 : interval;
    bake();
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof where;
    if (listener < 0 || bind(listener, (void *)&where, size) || listen(listener, 16384)) die("listen");
    getsockname(listener, (void *)&where, &size);
    poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    e.data.fd = timer;
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &e);
    printf("%d\n", ntohs(where.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event ready[256];
        int able = 0;
        for (int i = active_n; i-- > 0;) able |= !active[i]->blocked;
        int n = epoll_wait(poller, ready, 256, able ? 0 : -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            unsigned long long rings;
            if (fd == listener) {
                welcome(fd);
            } else if (fd == timer) {
                if (read(timer, &rings, sizeof rings) < 0 && errno != EAGAIN) die("timer");
            } else {
                if (conns[fd].fd && ready[i].events & EPOLLOUT) writable(&conns[fd]);
                if (conns[fd].fd && ready[i].events & ~EPOLLOUT) readable(&conns[fd]);
            }
            if (heap_n && heap[0]->due <= now_ns()) pace();
        }
        for (int i = active_n; i-- > 0;) {
            if (i < active_n && !active[i]->blocked) stream_one(active[i]);
        }
        pace();
    }
}
