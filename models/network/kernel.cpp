// The folded network (`folding.py`) forward and back, one window after the other.
//
// Signals lie phase by phase: sample 4f + p of a window is row p, column f, so that vectors run
// over frames and no module de-interleaves what the one before it wrote. The hidden channels of a
// module are made in blocks that stay in the first-level cache; 4 outputs times a group of vectors
// accumulate in registers over a block's channels and taps. Every sum has one fixed order, whatever
// else is in the batch: the same window gives the same bits at any place in any batch.
//
// The file includes itself once for every instruction set; `innpar_kernel` chooses at run time.

#ifndef LANES  // ------------------------------------------------------------ the outer file

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

constexpr int PHASES = 4, COLUMNS = 8, CHANNEL_BLOCK = 32, PAD = 32;

// Weights of the folded network, float32; m = 3·blocks modules (F, G, H a block).
struct Net {
    int32_t blocks, channels, margin, taps, edge;  // as `collapse.Reach` names them
    float clamp;
    const float *mixing, *unmixing;       // (blocks, 2, 2)
    const float *entry, *entry_bias;      // (m, channels, COLUMNS), (m, channels)
    const float *kernel, *bias;           // (m, channels, taps, 4), (m, 4)
    const float *left, *left_bias;        // (m, edge·channels, edge·4), (m, edge·4)
    const float *right, *right_bias;
};

}  // namespace

#if defined(__x86_64__)

#define LANES 4
#define GROUP 2
#define SET plain
#define HOLD(v)
#include "kernel.cpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define LANES 8
#define GROUP 2
#define SET avx2
#define HOLD(v)
#include "kernel.cpp"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,fma")
#define LANES 16
#define GROUP 5
#define SET avx512
#define HOLD(v) asm("" : "+v"(v))  // one load for four products, not four operands in memory
#include "kernel.cpp"
#pragma GCC pop_options
#elif defined(__aarch64__)
#define LANES 4
#define GROUP 5
#define SET neon
#define HOLD(v) asm("" : "+w"(v))
#include "kernel.cpp"
#else
#define LANES 4
#define GROUP 2
#define SET plain
#define HOLD(v)
#include "kernel.cpp"
#endif

// Run a batch: x, y (batch, 2, 4·frames); shift (batch, m, channels) is added to the entries'
// biases, null for none. Returns 0, or 1 where there is no memory.
EXPORT int innpar_kernel(const char *set, const Net *net, int back, int64_t batch, int64_t frames,
                         const float *x, const float *shift, float *y) {
#if defined(__x86_64__)
    if (!std::strcmp(set, "avx512")) return avx512::run(net, back, batch, frames, x, shift, y);
    if (!std::strcmp(set, "avx2")) return avx2::run(net, back, batch, frames, x, shift, y);
    return plain::run(net, back, batch, frames, x, shift, y);
#elif defined(__aarch64__)
    return neon::run(net, back, batch, frames, x, shift, y);
#else
    return plain::run(net, back, batch, frames, x, shift, y);
#endif
}

// The best instruction set of this processor.
EXPORT const char *innpar_kernel_set() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return "avx512";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
    return "plain";
#elif defined(__aarch64__)
    return "neon";
#else
    return "plain";
#endif
}

#else  // ------------------------------------------------------- once for every instruction set

namespace SET {

typedef float V __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));
#define INLINE static inline __attribute__((always_inline))

INLINE V load(const float *p) { return *(const Unaligned *)p; }
INLINE void store(float *p, V a) { *(Unaligned *)p = a; }
INLINE V all(float a) {
#if LANES == 16
    return V{a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a};
#elif LANES == 8
    return V{a, a, a, a, a, a, a, a};
#else
    return V{a, a, a, a};
#endif
}
INLINE V relu(V a) { return (V)((I)a & (I)(a > all(0))); }

// exp to 2 ulp between -87 and 88: 2^n times a polynomial of the rest (Cephes).
INLINE V exp_(V x) {
    x = x > all(88.f) ? all(88.f) : x;
    x = x < all(-87.f) ? all(-87.f) : x;
    const V n = (x * 1.44269504088896341f + 12582912.f) - 12582912.f;  // rounds to an integer
    const V r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    V p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    return p * (V)((__builtin_convertvector(n, I) + 127) << 23);
}
INLINE V tanh_(V x) { return 1.f - 2.f / (exp_(x + x) + 1.f); }

// One window's signals and hidden channels. A row has `PAD` zeros on either side of its frames and
// zeros up to a whole number of vectors.
struct Room {
    int64_t frames, whole, row;  // whole: frames up to the next vector
    float *hidden;               // (channels, row)
    float *a, *b, *y, *x2, *f, *g, *h;  // (PHASES, row) each
};

// Accumulate a block's channels into one group of G vectors of all four outputs.
INLINE void group(const int G, const Net *net, const float *kernel, const float *hidden,
                  int64_t row, int first, int last, int64_t at, const float *bias, float *out) {
    V sum[PHASES][GROUP];
    for (int p = 0; p < PHASES; p++)
        for (int q = 0; q < G; q++)
            sum[p][q] = first ? load(out + p * row + at + q * LANES) : all(bias[p]);
    const int taps = net->taps;
    for (int c = first; c < last; c++) {
        const float *from = hidden + c * row + at - taps / 2;
        const float *weight = kernel + (int64_t)c * taps * PHASES;
#pragma GCC unroll 1
        for (int t = 0; t < taps; t++, from++, weight += PHASES) {
            const V w0 = all(weight[0]), w1 = all(weight[1]);
            const V w2 = all(weight[2]), w3 = all(weight[3]);
#pragma GCC unroll 8
            for (int q = 0; q < G; q++) {
                V v = load(from + q * LANES);
                HOLD(v);
                sum[0][q] += v * w0;
                sum[1][q] += v * w1;
                sum[2][q] += v * w2;
                sum[3][q] += v * w3;
            }
        }
    }
    for (int p = 0; p < PHASES; p++)
        for (int q = 0; q < G; q++) store(out + p * row + at + q * LANES, sum[p][q]);
}

// One module: in → hidden channels → out, both (PHASES, row).
static void module(const Net *net, int m, const float *shift, const Room &room, const float *in,
                   float *out) {
    const int channels = net->channels, taps = net->taps, edge = net->edge;
    const int64_t row = room.row, frames = room.frames, whole = room.whole;
    const float *entry = net->entry + (int64_t)m * channels * COLUMNS;
    const float *entry_bias = net->entry_bias + (int64_t)m * channels;
    const float *kernel = net->kernel + (int64_t)m * channels * taps * PHASES;
    const float *bias = net->bias + (int64_t)m * PHASES;
    const float *source[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        const int sample = i - net->margin + 2 * PHASES;  // counted from two frames before
        source[i] = in + (sample % PHASES) * row + PAD + sample / PHASES - 2;
    }
    for (int first = 0; first < channels; first += CHANNEL_BLOCK) {
        const int last = first + CHANNEL_BLOCK < channels ? first + CHANNEL_BLOCK : channels;
        for (int64_t n = 0; n < whole; n += LANES) {
            V x[COLUMNS];
            for (int i = 0; i < COLUMNS; i++) x[i] = load(source[i] + n);
            for (int c = first; c < last; c++) {
                V sum = all(entry_bias[c] + (shift ? shift[c] : 0.f));
                const float *weight = entry + c * COLUMNS;
                for (int i = 0; i < COLUMNS; i++) sum += x[i] * weight[i];
                store(room.hidden + c * row + PAD + n, relu(sum));
            }
        }
        if (whole > frames)  // beyond the window there is nothing
            for (int c = first; c < last; c++)
                std::memset(room.hidden + c * row + PAD + frames, 0, 4 * (whole - frames));
        int64_t n = 0;
        for (; n + GROUP * LANES <= whole; n += GROUP * LANES)
            group(GROUP, net, kernel, room.hidden, row, first, last, PAD + n, bias, out);
        for (; n < whole; n += LANES)
            group(1, net, kernel, room.hidden, row, first, last, PAD + n, bias, out);
    }
    const int wide = edge * PHASES;
    for (int side = 0; side < 2; side++) {
        const int64_t start = side ? frames - edge : 0;
        const float *matrix = (side ? net->right : net->left) + (int64_t)m * edge * channels * wide;
        const float *add = (side ? net->right_bias : net->left_bias) + (int64_t)m * wide;
        for (int frame = 0; frame < edge; frame++)
            for (int p = 0; p < PHASES; p++)
                out[p * row + PAD + start + frame] += add[frame * PHASES + p];
        for (int frame = 0; frame < edge; frame++)
            for (int c = 0; c < channels; c++, matrix += wide) {
                const float value = room.hidden[c * row + PAD + start + frame];
                for (int to = 0; to < edge; to++)
                    for (int p = 0; p < PHASES; p++)
                        out[p * row + PAD + start + to] += value * matrix[to * PHASES + p];
            }
    }
    if (whole > frames)
        for (int p = 0; p < PHASES; p++)
            std::memset(out + p * row + PAD + frames, 0, 4 * (whole - frames));
}

#define EVERY(at)                                                     \
    for (int p = 0; p < PHASES; p++)                                  \
        for (int64_t at = p * room.row + PAD, end = at + room.whole; at < end; at += LANES)

static void window(const Net *net, int back, const Room &room, const float *x, const float *shift,
                   float *y) {
    const int64_t frames = room.frames;
    const int channels = net->channels;
    for (int p = 0; p < PHASES; p++)
        for (int64_t n = 0; n < frames; n++) {
            room.a[p * room.row + PAD + n] = x[PHASES * n + p];
            room.b[p * room.row + PAD + n] = x[PHASES * (frames + n) + p];
        }
    for (int i = 0; i < net->blocks; i++) {
        const int k = back ? net->blocks - 1 - i : i;
        const float *w = (back ? net->unmixing : net->mixing) + 4 * k;
        const float *to[3] = {};
        for (int j = 0; j < 3 && shift; j++) to[j] = shift + (int64_t)(3 * k + j) * channels;
        if (!back) {
            EVERY(n) {
                const V a = load(room.a + n), b = load(room.b + n);
                store(room.y + n, a * w[0] + b * w[1]);
                store(room.x2 + n, a * w[2] + b * w[3]);
            }
            module(net, 3 * k, to[0], room, room.x2, room.f);
            EVERY(n) store(room.a + n, load(room.y + n) + load(room.f + n));
            module(net, 3 * k + 1, to[1], room, room.a, room.g);
            module(net, 3 * k + 2, to[2], room, room.a, room.h);
            EVERY(n) {
                const V scale = exp_(tanh_(load(room.h + n)) * net->clamp);
                store(room.b + n, load(room.x2 + n) * scale + load(room.g + n));
            }
        } else {
            module(net, 3 * k + 1, to[1], room, room.a, room.g);
            module(net, 3 * k + 2, to[2], room, room.a, room.h);
            EVERY(n) {
                const V scale = exp_(tanh_(load(room.h + n)) * -net->clamp);
                store(room.x2 + n, (load(room.b + n) - load(room.g + n)) * scale);
            }
            module(net, 3 * k, to[0], room, room.x2, room.f);
            EVERY(n) {
                const V x1 = load(room.a + n) - load(room.f + n), x2 = load(room.x2 + n);
                store(room.a + n, x1 * w[0] + x2 * w[1]);
                store(room.b + n, x1 * w[2] + x2 * w[3]);
            }
        }
    }
    for (int p = 0; p < PHASES; p++)
        for (int64_t n = 0; n < frames; n++) {
            y[PHASES * n + p] = room.a[p * room.row + PAD + n];
            y[PHASES * (frames + n) + p] = room.b[p * room.row + PAD + n];
        }
}

static int run(const Net *net, int back, int64_t batch, int64_t frames, const float *x,
               const float *shift, float *y) {
    Room room;
    room.frames = frames;
    room.whole = (frames + LANES - 1) / LANES * LANES;
    room.row = (room.whole + 2 * PAD + 15) / 16 * 16;
    const int64_t signal = PHASES * room.row, rows = net->channels + 7 * PHASES;
    void *memory = std::calloc(rows * room.row + 16, sizeof(float));
    if (!memory) return 1;
    room.hidden = (float *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    float *next = room.hidden + net->channels * room.row;
    for (float **one : {&room.a, &room.b, &room.y, &room.x2, &room.f, &room.g, &room.h}) {
        *one = next;
        next += signal;
    }
    const int64_t length = 2 * PHASES * frames, shifts = 3 * (int64_t)net->blocks * net->channels;
    for (int64_t i = 0; i < batch; i++)
        window(net, back, room, x + i * length, shift ? shift + i * shifts : nullptr,
               y + i * length);
    std::free(memory);
    return 0;
}

#undef EVERY
#undef INLINE
}  // namespace SET

#undef LANES
#undef GROUP
#undef SET
#undef HOLD
#endif
