/* A WebSocket echo server (RFC 6455) on one thread: `server SOCKET` listens on a port of loopback, which it prints,
 * and on a unix socket, and serves until it is killed.
 *
 * It echoes payload as it comes, unmasked, so a message of any size costs no memory. What a connection
 * does not take at once is kept, and no more is read from it until that is gone.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#define CHUNK (256 * 1024)

struct connection {
    int fd, upgraded, closing;
    uint64_t payload_left, position; /* of the frame that is under way */
    uint8_t mask[4];
    uint8_t *kept; /* not yet understood: part of a request or of a header */
    size_t kept_size;
    uint8_t *rest; /* not yet taken by the peer */
    size_t rest_size;
};

static int epoll;
static uint8_t in[CHUNK + 16384], out[2 * CHUNK];

static void watch(struct connection *c, int operation)
{
    struct epoll_event event = {.events = c->rest_size ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, operation, c->fd, &event);
}

static void end(struct connection *c)
{
    close(c->fd);
    free(c->kept);
    free(c->rest);
    free(c);
}

static uint8_t *keep(const uint8_t *data, size_t size)
{
    uint8_t *copy = size ? malloc(size) : NULL;
    return size ? memcpy(copy, data, size) : NULL;
}

/* Send, and keep what is not taken. Gives -1 when the peer is gone. */
static int give(struct connection *c, const uint8_t *data, size_t size)
{
    ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return -1;
    if (sent < 0)
        sent = 0;
    uint8_t *rest = keep(data + sent, size - sent);
    int was_waiting = c->rest_size > 0;
    free(c->rest);
    c->rest = rest;
    c->rest_size = size - sent;
    if (was_waiting || c->rest_size)
        watch(c, EPOLL_CTL_MOD);
    return c->closing && !c->rest_size ? -1 : 0;
}

/* Section 4.2.2: the answer to a whole request. */
static size_t greet(const char *request, uint8_t *answer)
{
    uint8_t joined[128], digest[SHA_DIGEST_LENGTH];
    char accept[64];
    const char *key = strcasestr(request, "\r\nSec-WebSocket-Key:");
    if (!key)
        return 0;
    key += strlen("\r\nSec-WebSocket-Key:");
    key += strspn(key, " ");
    int size = snprintf((char *)joined, sizeof joined, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
                        (int)strcspn(key, " \r"), key);
    SHA1(joined, size, digest);
    EVP_EncodeBlock((uint8_t *)accept, digest, sizeof digest);
    return sprintf((char *)answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
}

static void unmask(uint8_t *to, const uint8_t *from, size_t size, const uint8_t *mask, uint64_t position)
{
    uint8_t turned[8];
    for (int i = 0; i < 8; i++)
        turned[i] = mask[(position + i) % 4];
    uint64_t word, key;
    memcpy(&key, turned, 8);
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= key;
        memcpy(to + i, &word, 8);
    }
    for (; i < size; i++)
        to[i] = from[i] ^ turned[i % 8];
}

/* Understand the header at `data` and write that of the echo. Gives its size, or 0 if it is not whole. */
static size_t header(struct connection *c, const uint8_t *data, size_t size, uint8_t **to)
{
    if (size < 2)
        return 0;
    uint64_t length = data[1] & 0x7f;
    size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0, whole = 2 + extended + 4;
    if (size < whole)
        return 0;
    if (extended)
        length = 0;
    for (size_t i = 0; i < extended; i++)
        length = length << 8 | data[2 + i];
    memcpy(c->mask, data + whole - 4, 4);
    c->payload_left = length;
    c->position = 0;
    c->closing |= (data[0] & 0xf) == 8;
    *(*to)++ = (data[0] & 0xf) == 9 ? data[0] + 1 : data[0]; /* a Ping is answered by a Pong */
    *(*to)++ = data[1] & 0x7f;
    memcpy(*to, data + 2, extended);
    *to += extended;
    return whole;
}

/* Echo what has come. Gives -1 when the connection is over. */
static int hear(struct connection *c, const uint8_t *data, size_t size)
{
    uint8_t *to = out;
    const uint8_t *from = data, *after = data + size;
    if (!c->upgraded) {
        const uint8_t *blank = memmem(data, size, "\r\n\r\n", 4);
        if (blank) {
            in[blank + 2 - in] = 0; /* `data` lies in `in` */
            size_t answer = greet((const char *)data, out);
            if (!answer)
                return -1;
            to += answer;
            c->upgraded = 1;
            from = blank + 4;
        }
    }
    while (c->upgraded && from < after) {
        size_t part = c->payload_left < (size_t)(after - from) ? c->payload_left : (size_t)(after - from);
        unmask(to, from, part, c->mask, c->position);
        to += part, from += part, c->position += part, c->payload_left -= part;
        if (c->payload_left)
            break;
        size_t whole = from < after ? header(c, from, after - from, &to) : 0;
        if (!whole)
            break;
        from += whole;
    }
    c->kept = keep(from, c->kept_size = after - from);
    return to > out ? give(c, out, to - out) : 0;
}

static int readable(struct connection *c)
{
    size_t kept = c->kept_size < 16384 ? c->kept_size : 16384;
    if (kept)
        memcpy(in, c->kept, kept);
    ssize_t size = recv(c->fd, in + kept, CHUNK, 0);
    if (size <= 0)
        return size < 0 && errno == EAGAIN ? 0 : -1;
    free(c->kept);
    return hear(c, in, kept + size);
}

static int writable(struct connection *c)
{
    return give(c, c->rest, c->rest_size);
}

static void greet_new(int listener, int is_tcp)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (is_tcp)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    watch(c, EPOLL_CTL_ADD);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int local = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    if (argc != 2 || strlen(argv[1]) >= sizeof path.sun_path)
        return fputs("usage: server SOCKET\n", stderr), 2;
    strcpy(path.sun_path, argv[1]);
    if (bind(listener, (void *)&address, size) || listen(listener, 4096) ||
        bind(local, (void *)&path, sizeof path) || listen(local, 4096))
        return perror("listen"), 1;
    getsockname(listener, (void *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    epoll = epoll_create1(0);
    struct epoll_event events[256], event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    epoll_ctl(epoll, EPOLL_CTL_ADD, local, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c) {
                if ((c->rest_size ? writable(c) : readable(c)) < 0)
                    end(c);
                continue;
            }
            greet_new(listener, 1);
            greet_new(local, 0);
        }
    }
}
