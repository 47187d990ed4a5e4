/*
 * A test engine: AES-128-CBC and SHA256 by libcrypto's own low-level functions, with a defect on request. The
 * declarations are OpenSSL's (engine.h, evp.h, aes.h, sha.h of 3.0), so that no headers are needed to build it.
 *
 * Its control command MODE selects the defect:
 *
 *     right              none
 *     wrong              one bit of each answer is flipped
 *     nothing            it offers no algorithm
 *     refuses            each operation fails
 *     crashes            in the sixth operation
 *     hangs              in the second operation
 *     crashes-at-exit    as the process ends
 *
 * Defects that a message passed in one call does not show:
 *
 *     loses-iv           a cipher's update begins with the first IV again
 *     unaligned          wrong from and to addresses that are no multiple of 4
 *     overruns           changes the byte behind the answer
 *     spoils-input       changes the first byte of the input
 *     forgets-copied     a copied digest begins anew
 *     keeps-hashing      a digest that is restarted goes on
 *     empty-zeros        the digest of the empty message is zeros
 *     dies-in-child      aborts in a forked child
 *     leaks              a descriptor each time that a digest begins
 *
 * Defects that depend on the length:
 *
 *     window             wrong with 1408 to 1471 bytes
 *     repeats            takes the data beyond 4 MiB from the beginning again
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct engine_st ENGINE;
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_md_st EVP_MD;
typedef struct evp_md_ctx_st EVP_MD_CTX;

typedef struct {
    unsigned number;
    const char *name, *about;
    unsigned flags;
} ENGINE_CMD_DEFN;

int ENGINE_set_id(ENGINE *, const char *);
int ENGINE_set_name(ENGINE *, const char *);
int ENGINE_set_ciphers(ENGINE *, int (*)(ENGINE *, const EVP_CIPHER **, const int **, int));
int ENGINE_set_digests(ENGINE *, int (*)(ENGINE *, const EVP_MD **, const int **, int));
int ENGINE_set_cmd_defns(ENGINE *, const ENGINE_CMD_DEFN *);
int ENGINE_set_ctrl_function(ENGINE *, int (*)(ENGINE *, int, long, void *, void (*)(void)));
int ENGINE_set_destroy_function(ENGINE *, int (*)(ENGINE *));

EVP_CIPHER *EVP_CIPHER_meth_new(int nid, int block, int key);
void EVP_CIPHER_meth_free(EVP_CIPHER *);
int EVP_CIPHER_meth_set_iv_length(EVP_CIPHER *, int);
int EVP_CIPHER_meth_set_flags(EVP_CIPHER *, unsigned long);
int EVP_CIPHER_meth_set_impl_ctx_size(EVP_CIPHER *, int);
int EVP_CIPHER_meth_set_init(EVP_CIPHER *,
                             int (*)(EVP_CIPHER_CTX *, const unsigned char *, const unsigned char *, int));
int EVP_CIPHER_meth_set_do_cipher(EVP_CIPHER *,
                                  int (*)(EVP_CIPHER_CTX *, unsigned char *, const unsigned char *, size_t));
void *EVP_CIPHER_CTX_get_cipher_data(const EVP_CIPHER_CTX *);
unsigned char *EVP_CIPHER_CTX_iv_noconst(EVP_CIPHER_CTX *);

EVP_MD *EVP_MD_meth_new(int nid, int key_type);
void EVP_MD_meth_free(EVP_MD *);
int EVP_MD_meth_set_result_size(EVP_MD *, int);
int EVP_MD_meth_set_input_blocksize(EVP_MD *, int);
int EVP_MD_meth_set_app_datasize(EVP_MD *, int);
int EVP_MD_meth_set_init(EVP_MD *, int (*)(EVP_MD_CTX *));
int EVP_MD_meth_set_update(EVP_MD *, int (*)(EVP_MD_CTX *, const void *, size_t));
int EVP_MD_meth_set_final(EVP_MD *, int (*)(EVP_MD_CTX *, unsigned char *));
int EVP_MD_meth_set_copy(EVP_MD *, int (*)(EVP_MD_CTX *, const EVP_MD_CTX *));
void *EVP_MD_CTX_get0_md_data(const EVP_MD_CTX *);

typedef struct {
    unsigned char opaque[256];
} AES_KEY;
int AES_set_encrypt_key(const unsigned char *, int, AES_KEY *);
int AES_set_decrypt_key(const unsigned char *, int, AES_KEY *);
void AES_cbc_encrypt(const unsigned char *, unsigned char *, size_t, const AES_KEY *, unsigned char *, int);
int SHA256_Init(void *);
int SHA256_Update(void *, const void *, size_t);
int SHA256_Final(unsigned char *, void *);

enum { AES_128_CBC = 419, SHA256 = 672, CBC_MODE = 2, MODE_COMMAND = 200, STRING_ARGUMENT = 2, PIECE = 4 << 20 };

static char mode[32] = "right";
static unsigned operations;
static pid_t bound_by;
static EVP_CIPHER *cipher_method;
static EVP_MD *digest_method;

static int is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void misbehave(void)
{
    operations++;
    if (is("crashes") && operations == 6)
        *(volatile int *)0 = 1;
    while (is("hangs") && operations == 2)
        pause();
    if (is("dies-in-child") && getpid() != bound_by)
        abort();
}

struct keyed {
    AES_KEY key;
    int encrypt;
};

static int cipher_init(EVP_CIPHER_CTX *context, const unsigned char *key, const unsigned char *iv, int encrypt)
{
    struct keyed *own = EVP_CIPHER_CTX_get_cipher_data(context);
    (void)iv;
    own->encrypt = encrypt;
    return !key || !(encrypt ? AES_set_encrypt_key(key, 128, &own->key) : AES_set_decrypt_key(key, 128, &own->key));
}

static int is_unaligned(const void *address)
{
    return (uintptr_t)address % 4 != 0;
}

static int is_in_window(size_t length)
{
    return is("window") && length >= 1408 && length < 1472;
}

static size_t piece_of(size_t length)
{
    return length < PIECE ? length : PIECE;
}

static int cipher_do(EVP_CIPHER_CTX *context, unsigned char *out, const unsigned char *in, size_t length)
{
    const struct keyed *own = EVP_CIPHER_CTX_get_cipher_data(context);
    unsigned char *iv = EVP_CIPHER_CTX_iv_noconst(context), first[16];
    misbehave();
    memcpy(first, iv, sizeof first);
    for (size_t done = 0, part; done < length; done += part) {
        part = piece_of(length - done);
        AES_cbc_encrypt(is("repeats") ? in : in + done, out + done, part, &own->key, iv, own->encrypt);
    }
    if (is("loses-iv"))
        memcpy(iv, first, sizeof first);
    if (length && (is("wrong") || is_in_window(length) || (is("unaligned") && (is_unaligned(in) || is_unaligned(out)))))
        out[length - 1] ^= 1;
    if (is("overruns"))
        out[length] ^= 1;
    if (is("spoils-input"))
        *(unsigned char *)in ^= 1;
    return !is("refuses");
}

/* The low word of SHA256_CTX's count of bits, its ninth. */
static unsigned *hashed(const EVP_MD_CTX *context)
{
    return (unsigned *)EVP_MD_CTX_get0_md_data(context) + 8;
}

static int digest_init(EVP_MD_CTX *context)
{
    if (is("leaks"))
        (void)!dup(0);
    return (is("keeps-hashing") && *hashed(context)) || SHA256_Init(EVP_MD_CTX_get0_md_data(context));
}

static int digest_copy(EVP_MD_CTX *to, const EVP_MD_CTX *from)
{
    (void)from;
    return !is("forgets-copied") || SHA256_Init(EVP_MD_CTX_get0_md_data(to));
}

static int digest_update(EVP_MD_CTX *context, const void *data, size_t length)
{
    const unsigned char *bytes = data;

    for (size_t done = 0, part; done < length; done += part) {
        part = piece_of(length - done);
        SHA256_Update(EVP_MD_CTX_get0_md_data(context), is("repeats") ? bytes : bytes + done, part);
    }
    return !is_in_window(length) || SHA256_Update(EVP_MD_CTX_get0_md_data(context), "", 1);
}

static int digest_final(EVP_MD_CTX *context, unsigned char *out)
{
    misbehave();
    int empty = !*hashed(context), good = SHA256_Final(out, EVP_MD_CTX_get0_md_data(context));
    out[0] ^= is("wrong") ? 1 : 0;
    if (is("empty-zeros") && empty)
        memset(out, 0, 32);
    return good && !is("refuses");
}

static const EVP_CIPHER *cipher(void)
{
    EVP_CIPHER *made = cipher_method;

    if (!made && (made = cipher_method = EVP_CIPHER_meth_new(AES_128_CBC, 16, 16))) {
        EVP_CIPHER_meth_set_iv_length(made, 16);
        EVP_CIPHER_meth_set_flags(made, CBC_MODE);
        EVP_CIPHER_meth_set_impl_ctx_size(made, sizeof(struct keyed));
        EVP_CIPHER_meth_set_init(made, cipher_init);
        EVP_CIPHER_meth_set_do_cipher(made, cipher_do);
    }
    return made;
}

static const EVP_MD *digest(void)
{
    EVP_MD *made = digest_method;

    if (!made && (made = digest_method = EVP_MD_meth_new(SHA256, 0))) {
        EVP_MD_meth_set_result_size(made, 32);
        EVP_MD_meth_set_input_blocksize(made, 64);
        EVP_MD_meth_set_app_datasize(made, 128);
        EVP_MD_meth_set_init(made, digest_init);
        EVP_MD_meth_set_update(made, digest_update);
        EVP_MD_meth_set_final(made, digest_final);
        EVP_MD_meth_set_copy(made, digest_copy);
    }
    return made;
}

static int offer_ciphers(ENGINE *engine, const EVP_CIPHER **found, const int **nids, int nid)
{
    static const int all[] = {AES_128_CBC};
    (void)engine;
    *(found ? (const void **)found : (const void **)nids) = found ? (const void *)cipher() : (const void *)all;
    return is("nothing") ? 0 : !found || nid == AES_128_CBC;
}

static int offer_digests(ENGINE *engine, const EVP_MD **found, const int **nids, int nid)
{
    static const int all[] = {SHA256};
    (void)engine;
    *(found ? (const void **)found : (const void **)nids) = found ? (const void *)digest() : (const void *)all;
    return is("nothing") ? 0 : !found || nid == SHA256;
}

static int control(ENGINE *engine, int command, long number, void *text, void (*function)(void))
{
    (void)engine, (void)number, (void)function;
    if (command != MODE_COMMAND || !text || strlen(text) >= sizeof mode)
        return 0;
    strcpy(mode, text);
    return 1;
}

static int destroy(ENGINE *engine)
{
    (void)engine;
    if (is("crashes-at-exit"))
        abort();
    EVP_CIPHER_meth_free(cipher_method);
    EVP_MD_meth_free(digest_method);
    cipher_method = NULL;
    digest_method = NULL;
    return 1;
}

unsigned long v_check(unsigned long wanted)
{
    return wanted >= 0x30000 ? 0x30000 : 0;
}

int bind_engine(ENGINE *engine, const char *id, const void *functions)
{
    static const ENGINE_CMD_DEFN commands[] = {{MODE_COMMAND, "MODE", "how to behave", STRING_ARGUMENT},
                                               {0, NULL, NULL, 0}};
    (void)functions;
    bound_by = getpid();
    return (!id || !strcmp(id, "hiltest")) && ENGINE_set_id(engine, "hiltest") &&
           ENGINE_set_name(engine, "the test engine of offload-hil") && ENGINE_set_ciphers(engine, offer_ciphers) &&
           ENGINE_set_digests(engine, offer_digests) && ENGINE_set_cmd_defns(engine, commands) &&
           ENGINE_set_ctrl_function(engine, control) && ENGINE_set_destroy_function(engine, destroy);
}
