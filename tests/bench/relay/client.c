/* A WebSocket client that measures (RFC 6455), on one thread.
 *
 *   client echo PORT PATH CONNECTIONS BYTES MILLISECONDS [tls]
 *       send a message on each connection, and the next one when its echo has come; print messages,
 *       seconds, the latencies' median and 99th percentile in µs, and the client's own CPU seconds
 *   client connect PORT PATH ROUNDS      connect and say goodbye; print the median of a connect in µs
 *   client idle PORT PATH CONNECTIONS    connect, print "ready", hold until stdin ends
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (256 * 1024)
#define SAMPLES (1 << 21)
#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* that of section 1.3, with the answer that belongs to it */
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct connection {
    int fd, waits_to_write;
    SSL *tls;
    size_t sent, received;
    uint64_t begun_ns;
};

static SSL_CTX *context;
static int epoll, port;
static const char *path;
static uint8_t *frame, *echo, in[CHUNK];
static size_t frame_size, echo_size;
static uint32_t *samples;
static size_t messages;

static void fail(const char *what)
{
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Send or receive some bytes: their number, or 0 when that must wait. */
static size_t moved(struct connection *c, ssize_t size)
{
    if (size > 0)
        return size;
    int wait = c->tls ? SSL_get_error(c->tls, size) == SSL_ERROR_WANT_READ ||
                            SSL_get_error(c->tls, size) == SSL_ERROR_WANT_WRITE
                      : size < 0 && errno == EAGAIN;
    if (!wait)
        fail("the connection ended");
    return 0;
}

static size_t put(struct connection *c, const void *data, size_t size)
{
    return moved(c, c->tls ? SSL_write(c->tls, data, size) : send(c->fd, data, size, MSG_NOSIGNAL));
}

static size_t take(struct connection *c, void *data, size_t size)
{
    return moved(c, c->tls ? SSL_read(c->tls, data, size) : recv(c->fd, data, size, 0));
}

/* Connect, shake hands and check the answer. */
static void dial(struct connection *c)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[512], answer[4096];
    int one = 1, size = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\nUser-Agent: relay-bench\r\nx-playwright-proxy: \r\n\r\n", path, port);
    size_t got = 0;
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (void *)&address, sizeof address))
        fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (context) {
        c->tls = SSL_new(context);
        SSL_set_fd(c->tls, c->fd);
        if (SSL_connect(c->tls) != 1)
            fail("TLS handshake");
    }
    put(c, request, size);
    do
        got += take(c, answer + got, sizeof answer - 1 - got);
    while (!memmem(answer, got, "\r\n\r\n", 4));
    answer[got] = 0;
    if (strncmp(answer, "HTTP/1.1 101 ", 13) || !strcasestr(answer, ACCEPT))
        errno = EPROTO, fprintf(stderr, "%s\n", answer), fail("handshake");
}

static void say_goodbye(struct connection *c)
{
    const uint8_t goodbye[] = {0x88, 0x82, 1, 2, 3, 4, 3 ^ 1, 0xe8 ^ 2}; /* masked: code 1000 */
    put(c, goodbye, sizeof goodbye);
    while (recv(c->fd, in, sizeof in, 0) > 0)
        ;
    close(c->fd);
}

/* One masked binary frame, and the echo that is awaited. */
static void build(size_t size)
{
    const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    size_t extended = size < 126 ? 0 : size < 65536 ? 2 : 8;
    frame_size = 2 + extended + 4 + size;
    echo_size = 2 + extended + size;
    frame = malloc(frame_size);
    echo = malloc(echo_size);
    frame[0] = echo[0] = 0x82;
    echo[1] = extended == 0 ? size : extended == 2 ? 126 : 127;
    frame[1] = 0x80 | echo[1];
    for (size_t i = 0; i < extended; i++)
        frame[2 + i] = echo[2 + i] = size >> 8 * (extended - 1 - i);
    memcpy(frame + 2 + extended, mask, 4);
    for (size_t i = 0; i < size; i++) {
        echo[2 + extended + i] = i * 7 + i / 256;
        frame[6 + extended + i] = echo[2 + extended + i] ^ mask[i % 4];
    }
}

static void watch(struct connection *c, int operation, int to_write)
{
    struct epoll_event event = {.events = EPOLLIN | (to_write ? EPOLLOUT : 0), .data.ptr = c};
    c->waits_to_write = to_write;
    epoll_ctl(epoll, operation, c->fd, &event);
}

static void push(struct connection *c)
{
    size_t size;
    while (c->sent < frame_size && (size = put(c, frame + c->sent, frame_size - c->sent)))
        c->sent += size;
    if (c->waits_to_write != (c->sent < frame_size))
        watch(c, EPOLL_CTL_MOD, c->sent < frame_size);
}

static void begin(struct connection *c)
{
    c->sent = c->received = 0;
    c->begun_ns = clock_ns(CLOCK_MONOTONIC);
    push(c);
}

static void hear(struct connection *c)
{
    size_t want = echo_size - c->received, size;
    while ((size = take(c, in, want < CHUNK ? want : CHUNK))) {
        if (memcmp(in, echo + c->received, size))
            errno = EPROTO, fail("not the echo");
        c->received += size;
        want -= size;
        if (want)
            continue;
        if (messages < SAMPLES)
            samples[messages] = clock_ns(CLOCK_MONOTONIC) - c->begun_ns;
        messages++;
        begin(c);
        return;
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(size_t percent)
{
    size_t count = messages < SAMPLES ? messages : SAMPLES;
    qsort(samples, count, sizeof *samples, by_value);
    return count ? samples[(count - 1) * percent / 100] / 1000.0 : 0;
}

static void measure(struct connection *all, int count, uint64_t duration_ns)
{
    struct epoll_event events[256];
    for (int i = 0; i < count; i++) {
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        if (all[i].tls)
            SSL_set_mode(all[i].tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        watch(&all[i], EPOLL_CTL_ADD, 0);
        begin(&all[i]);
    }
    uint64_t start = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), now = start;
    for (int warm = 0; now < start + duration_ns; now = clock_ns(CLOCK_MONOTONIC)) {
        if (!warm && now > start + duration_ns / 10) {
            warm = 1, messages = 0, start = now, cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
            duration_ns -= duration_ns / 10;
        }
        int ready = epoll_wait(epoll, events, 256, 1000);
        for (int i = 0; i < ready; i++) {
            if (events[i].events & EPOLLOUT)
                push(events[i].data.ptr);
            if (events[i].events & ~EPOLLOUT)
                hear(events[i].data.ptr);
        }
    }
    cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"messages\": %zu, \"seconds\": %f, \"cpu_s\": %f, ", messages, (now - start) / 1e9, cpu / 1e9);
    printf("\"p50_us\": %f, \"p99_us\": %f}\n", percentile_us(50), percentile_us(99));
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return fprintf(stderr, "usage: see client.c\n"), 2;
    int count = atoi(argv[4]);
    struct connection *all = calloc(count, sizeof *all);
    port = atoi(argv[2]);
    path = argv[3];
    samples = malloc(SAMPLES * sizeof *samples);
    epoll = epoll_create1(0);
    if (!strcmp(argv[1], "connect")) {
        for (int i = 0; i < count; i++) {
            uint64_t begun = clock_ns(CLOCK_MONOTONIC);
            dial(all);
            samples[messages++] = clock_ns(CLOCK_MONOTONIC) - begun;
            say_goodbye(all);
        }
        printf("{\"p50_us\": %f, \"p99_us\": %f}\n", percentile_us(50), percentile_us(99));
        return 0;
    }
    if (argc > 7 && !strcmp(argv[7], "tls"))
        context = SSL_CTX_new(TLS_client_method());
    for (int i = 0; i < count; i++)
        dial(&all[i]);
    if (!strcmp(argv[1], "idle")) {
        printf("ready\n");
        fflush(stdout);
        while (read(0, in, sizeof in) > 0)
            ;
        return 0;
    }
    build(atoll(argv[5]));
    measure(all, count, atoll(argv[6]) * 1000000ull);
}
