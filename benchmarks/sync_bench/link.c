/* A shaped link between two network namespaces, in user space: a TUN device in each, and this program between them.
 *
 *   link NEAR_NS FAR_NS DEVICE MBIT_PER_S ONE_WAY_MS LOSS_PERCENT QUEUE_MS OFFLOAD(0|1)
 *
 * Each direction has its own rate, drop-tail queue, delay and losses; a lost packet has taken its time on the line.
 * With OFFLOAD the kernel hands over whole TCP bursts of up to 64 KiB, which a fast line without loss needs; a line
 * with loss takes none, since a burst must not get lost as one. "ready" on standard output says that the devices
 * are there (down, without an address). It ends when its standard input ends, so that it never outlives its parent,
 * and then says how many packets each direction carried and dropped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    LARGEST_PACKET = 1 << 17,
    ETHERNET_BYTES = 38, /* preamble, header, checksum and gap of a frame */
    PACKETS_PER_TURN = 64,
};
static const int64_t NS_PER_S = 1000000000;
static const double NS_PER_MS = 1e6;

struct packet {
    struct packet *next;
    int64_t arrives_ns;
    size_t size;
    unsigned char bytes[];
};

struct settings {
    double ns_per_byte;
    int64_t delay_ns;
    int64_t queue_ns;
    double loss;
    int offload;
};

struct direction {
    int from, to;
    struct packet *first, *last;
    int64_t line_free_ns;
    uint64_t random_state;
    uint64_t packets, bytes, lost, overflowed;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* xorshift64*, in [0, 1) */
static double next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 0x2545F4914F6CDD1DULL) >> 11) / (double)(1ULL << 53);
}

static int open_device(const char *name, int offload)
{
    struct ifreq request = {0};
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0)
        fail("/dev/net/tun");
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    request.ifr_flags = IFF_TUN | IFF_NO_PI | (offload ? IFF_VNET_HDR : 0);
    if (ioctl(device, TUNSETIFF, &request))
        fail("TUNSETIFF");
    if (offload) {
        int header_bytes = sizeof(struct virtio_net_hdr);
        if (ioctl(device, TUNSETVNETHDRSZ, &header_bytes))
            fail("TUNSETVNETHDRSZ");
        if (ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4))
            fail("TUNSETOFFLOAD");
    }
    return device;
}

static int open_device_in(const char *namespace, const char *name, int offload)
{
    char path[256];
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (home < 0 || there < 0 || setns(there, CLONE_NEWNET))
        fail(path);
    int device = open_device(name, offload);
    if (setns(home, CLONE_NEWNET))
        fail("setns");
    close(home);
    close(there);
    return device;
}

/* What it takes of the line: a burst is as many frames as the network card would make of it. */
static size_t line_bytes(const unsigned char *read_bytes, size_t size, int offload, uint64_t *frames)
{
    *frames = 1;
    if (!offload)
        return size + ETHERNET_BYTES;
    struct virtio_net_hdr header;
    memcpy(&header, read_bytes, sizeof header);
    size -= sizeof header;
    if (header.gso_type == VIRTIO_NET_HDR_GSO_NONE || header.gso_size == 0 || size <= header.hdr_len)
        return size + ETHERNET_BYTES;
    *frames = (size - header.hdr_len + header.gso_size - 1) / header.gso_size;
    return size + (*frames - 1) * header.hdr_len + *frames * ETHERNET_BYTES;
}

static void accept_packet(struct direction *way, const struct settings *line, const unsigned char *bytes, size_t size)
{
    uint64_t frames;
    size_t on_line = line_bytes(bytes, size, line->offload, &frames);
    int64_t now = now_ns();
    int64_t starts = way->line_free_ns > now ? way->line_free_ns : now;
    way->packets += frames;
    if (starts - now > line->queue_ns) {
        way->overflowed += frames;
        return;
    }
    way->bytes += on_line;
    way->line_free_ns = starts + (int64_t)((double)on_line * line->ns_per_byte);
    if (line->loss > 0 && next_random(&way->random_state) < line->loss) {
        way->lost += frames;
        return;
    }
    struct packet *packet = malloc(sizeof *packet + size);
    if (packet == NULL)
        fail("malloc");
    packet->next = NULL;
    packet->arrives_ns = way->line_free_ns + line->delay_ns;
    packet->size = size;
    memcpy(packet->bytes, bytes, size);
    if (way->last)
        way->last->next = packet;
    else
        way->first = packet;
    way->last = packet;
}

static void take_in(struct direction *way, const struct settings *line)
{
    static unsigned char buffer[LARGEST_PACKET];
    for (int turn = 0; turn < PACKETS_PER_TURN; turn++) {
        ssize_t size = read(way->from, buffer, sizeof buffer);
        if (size <= 0)
            return;
        accept_packet(way, line, buffer, (size_t)size);
    }
}

static void deliver_due(struct direction *way)
{
    int64_t now = now_ns();
    while (way->first && way->first->arrives_ns <= now) {
        struct packet *packet = way->first;
        if (write(way->to, packet->bytes, packet->size) < 0 && errno != EINVAL && errno != EIO)
            way->overflowed++;
        way->first = packet->next;
        if (way->first == NULL)
            way->last = NULL;
        free(packet);
    }
}

/* Until the next packet is due in either direction; NULL: nothing is under way. */
static struct timespec *wait_for(const struct direction ways[2], struct timespec *wait)
{
    int64_t due = INT64_MAX;
    for (int i = 0; i < 2; i++)
        if (ways[i].first && ways[i].first->arrives_ns < due)
            due = ways[i].first->arrives_ns;
    if (due == INT64_MAX)
        return NULL;
    int64_t left = due - now_ns();
    if (left < 0)
        left = 0;
    wait->tv_sec = left / NS_PER_S;
    wait->tv_nsec = left % NS_PER_S;
    return wait;
}

static void carry(struct direction ways[2], const struct settings *line)
{
    for (;;) {
        struct timespec wait;
        struct pollfd watched[3] = {
            {.fd = ways[0].from, .events = POLLIN},
            {.fd = ways[1].from, .events = POLLIN},
            {.fd = STDIN_FILENO, .events = POLLIN},
        };
        deliver_due(&ways[0]);
        deliver_due(&ways[1]);
        if (ppoll(watched, 3, wait_for(ways, &wait), NULL) < 0 && errno != EINTR)
            fail("ppoll");
        for (int i = 0; i < 2; i++)
            if (watched[i].revents & POLLIN)
                take_in(&ways[i], line);
        if (watched[2].revents)
            return;
    }
}

static void tell(const char *name, const struct direction *way)
{
    printf("%s packets %llu bytes %llu lost %llu overflowed %llu\n", name, (unsigned long long)way->packets,
           (unsigned long long)way->bytes, (unsigned long long)way->lost, (unsigned long long)way->overflowed);
}

int main(int count, char **words)
{
    if (count != 9) {
        fprintf(stderr, "link NEAR_NS FAR_NS DEVICE MBIT_PER_S ONE_WAY_MS LOSS_PERCENT QUEUE_MS OFFLOAD\n");
        return 2;
    }
    struct settings line = {
        .ns_per_byte = 8e3 / atof(words[4]),
        .delay_ns = (int64_t)(atof(words[5]) * NS_PER_MS),
        .loss = atof(words[6]) / 100,
        .queue_ns = (int64_t)(atof(words[7]) * NS_PER_MS),
        .offload = atoi(words[8]),
    };
    int near_end = open_device_in(words[1], words[3], line.offload);
    int far_end = open_device_in(words[2], words[3], line.offload);
    struct direction ways[2] = {
        {.from = near_end, .to = far_end, .random_state = 0x9E3779B97F4A7C15ULL},
        {.from = far_end, .to = near_end, .random_state = 0xD1B54A32D192ED03ULL},
    };
    prctl(PR_SET_TIMERSLACK, 1UL);
    printf("ready\n");
    fflush(stdout);
    carry(ways, &line);
    tell("up", &ways[0]);
    tell("down", &ways[1]);
    return 0;
}
