#include "crypto/public_key.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "crypto/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::crypto {
namespace {

using testing::HasReason;
using testing::IsOkAndHolds;
using testing::PseudoRandomBytes;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

// Throw-away keys of two legacy clients, as recorded: the public one as sent, the private one as
// PKCS#1.
struct ClientKey {
  const char* public_hex;
  const char* private_hex;
};
constexpr ClientKey kClientKeys[] = {
    {"30819d300d06092a864886f70d010101050003818b0030818702818100c8190ac28f06900c50e349c7929f75c8aa"
     "e3b86950c931c4209820ef3c6283d69646c1cc8ac56fdf39382d95f9dd3dc23e5bc9f499a38578cee972a81f25c8"
     "99ebac0866df76ae034012ba29e6a23270acce9f7ad0c2c98353846f2b695f2ace8dd2612708b8aa671b7d048ff0"
     "91adf19c68527a64e7fc3e2faf0abefb5789b9020111",
     "3082025c02010002818100c8190ac28f06900c50e349c7929f75c8aae3b86950c931c4209820ef3c6283d69646c1"
     "cc8ac56fdf39382d95f9dd3dc23e5bc9f499a38578cee972a81f25c899ebac0866df76ae034012ba29e6a23270ac"
     "ce9f7ad0c2c98353846f2b695f2ace8dd2612708b8aa671b7d048ff091adf19c68527a64e7fc3e2faf0abefb5789"
     "b902011102818005e29e6f2253043c98f7a049a26e1a0d6e701c0318f6dbd11004797072b79a7740a7ba67e5f6bf"
     "8690bde3391defeb3a6b3eef5a0484cf3842522904f1db76d74c70953bdad85cae9dc9635b62f138702838600c00"
     "1a0630cae37f429de6e0e9be4700c7d0052ede7f6d20c8f7a0f994705ceff6a64c6a3ba5b61d15edd18899024100"
     "e610175868c6e6507a8f708754496e618d5f673d5236ab930bb5062d1eaa301fe8f889c7832c8b6cabefdb6dd658"
     "39b5589a1c2feaf5deac91d697e6d3357b1d024100dea81f1b65f37881d0c4177f6e4f4529c7f276a57b174b7555"
     "988225520b1ba35f6bbcd5e4dbe56d830ece7136d84e855776578863cc01a59ba895ee924dea4d024100a265b620"
     "49f5cfc056835e7da4e88a26be2539d0eebd2dd13570b910ca5a03da4a18d9ba023d8f9800e58bd50fc5ce61e430"
     "8c5e0f4424b60c977a489516b1410241009d2b61408433641f663010962fbf7c1d7e148ffc56e34452d3023dbffd"
     "ad7cebcae2a369ceb956a7a7ce375ef989a0d698174cd8beea5b83f567f15d1bfac381024100b729020c155307ad"
     "abc390d08802221e91d87a696ddca93117629d27c6424734c69654156aa60645d4b7b659fe5231de21faa06b051c"
     "95bb06bc4910cf7d37f1"},
    {"30819d300d06092a864886f70d010101050003818b0030818702818100c76a94f0bd5f4b6a6019598510a6e2508b"
     "48525c9314c69be8222044d690ed59964ffb053928b950d1adeb345ecefce72ee35d07937593f4f69fc40bb204fc"
     "535d92e24f3326cf5f009265fe82582c1185e2aed90645736f38cbe246245e250f27f7a5d4759acc6bcd739a78d3"
     "3165d59686a238af4f8861fd04acb81a72f85d020111",
     "3082025a02010002818100c76a94f0bd5f4b6a6019598510a6e2508b48525c9314c69be8222044d690ed59964ffb"
     "053928b950d1adeb345ecefce72ee35d07937593f4f69fc40bb204fc535d92e24f3326cf5f009265fe82582c1185"
     "e2aed90645736f38cbe246245e250f27f7a5d4759acc6bcd739a78d33165d59686a238af4f8861fd04acb81a72f8"
     "5d02011102818005dd7cd9e773be7411e2a0c0262306a80418b720d7264213a4f1f1e3e8317064846bc39e457223"
     "916f942c90996070d99f7f28621aecdeb4619b4987df96bc20847a2bcc84f7845d547c9c7e47421951955d02b526"
     "097aa61adb4c06ef939dc74d0c217da5a6f647998faf752afb9cccc587e2b86b8ae0d9ab52f3266c034b3f024100"
     "f4da8a106d16b8368b7e2710e83a31a84eae19927d4c272829bf95b22153342e4ceb8228eecf7417e391f6af4437"
     "b7aa8c5e4e83420987cf93e509a72b876227024100d07e87151d3082c33c87762823569d9360da39377bb702377d"
     "ec33a8316ffc689f6fb0fb869ea2d184cc5639d98edaf8ce1c373724d423a9a81b57f6967b97db0240399cd5310a"
     "9bef1be496274f45b356fa6cddaba9ff5d3663cd967d935322a2ddb7bef1730b03a2d871c7fdcee2dfeefaf3d9f4"
     "5b1e98d4a94ff9a7eb194d0809024018875b2fa914c416f80fefc87ca0c73e83dd7024a52496d95a1bc9d78d5878"
     "0c4efe14d24c12a9be4bdbcde8b02eec95bde533ac22734f7d5f1246957b1d9965024100b875d570b2ea0f79ca25"
     "dca9247692aa2e8ae341aef628cdea741361295a0da1c283fdbcc0beaefe4bac2f5792498df2b1d8c3fc0168d0b9"
     "93a7f8306be132c2"},
};

// What SubjectPublicKeyInfo puts in front of the PKCS#1 form of an RSA-1024 key with exponent 17.
constexpr size_t kSpkiPrefixSize = 22;

std::string ClientPublicKey(int i) { return *HexToBytes(kClientKeys[i].public_hex); }

const unsigned char* Bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string Decrypt(const ClientKey& client, const std::string& encrypted,
                    int padding = RSA_PKCS1_OAEP_PADDING) {
  const std::string der = *HexToBytes(client.private_hex);
  const unsigned char* front = Bytes(der);
  const Key key(d2i_AutoPrivateKey(nullptr, &front, static_cast<long>(der.size())), &EVP_PKEY_free);
  EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new(key.get(), nullptr);
  std::string decrypted(kEncryptedSessionKeySize, '\0');
  size_t size = decrypted.size();
  const bool begun =
      EVP_PKEY_decrypt_init(context) == 1 && EVP_PKEY_CTX_set_rsa_padding(context, padding) == 1;
  const bool with_sha1 = padding != RSA_PKCS1_OAEP_PADDING ||
                         (EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha1()) == 1 &&
                          EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha1()) == 1);
  const bool ok = begun && with_sha1 &&
                  EVP_PKEY_decrypt(context, reinterpret_cast<unsigned char*>(decrypted.data()),
                                   &size, Bytes(encrypted), encrypted.size()) == 1;
  EVP_PKEY_CTX_free(context);
  decrypted.resize(ok ? size : 0);
  return decrypted;
}

enum class Form { kSpki, kPkcs1 };

std::string Encode(const Key& key, Form form) {
  unsigned char* der = nullptr;
  const int size =
      form == Form::kSpki ? i2d_PUBKEY(key.get(), &der) : i2d_PublicKey(key.get(), &der);
  std::string encoded(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return encoded;
}

// A new key with the exponent 65537.
Key NewKey(const char* type, int bits) {
  EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr);
  EVP_PKEY* key = nullptr;
  EVP_PKEY_keygen_init(context);
  EVP_PKEY_CTX_set_rsa_keygen_bits(context, bits);
  EVP_PKEY_keygen(context, &key);
  EVP_PKEY_CTX_free(context);
  return Key(key, &EVP_PKEY_free);
}

MATCHER(IsRefused, "is refused as a public key") {
  *result_listener << arg.status();
  return ReasonOf(arg.status()) == Reason::kInvalidField && SubjectOf(arg.status()) == "public_key";
}

absl::StatusOr<std::string> ParsePublicKey(absl::string_view sent) {
  ASSIGN_OR_RETURN(const PublicKey key, PublicKey::Parse(sent));
  return key.der();
}

absl::StatusOr<std::string> EncryptSessionKey(
    absl::string_view sent, absl::string_view session_key,
    SessionKeyEncryption encryption = SessionKeyEncryption::kRsaesOaepSha1) {
  const absl::StatusOr<PublicKey> key = PublicKey::Parse(sent);
  if (!key.ok()) return key.status();
  return key->Encrypt(session_key, encryption);
}

TEST(ParsePublicKey, ReturnsTheKeysOfRealClientsAsTheyAre) {
  for (int i : {0, 1}) {
    ASSERT_EQ(ClientPublicKey(i).size(), 160u);
    EXPECT_THAT(ParsePublicKey(ClientPublicKey(i)), IsOkAndHolds(ClientPublicKey(i)));
  }
}

TEST(ParsePublicKey, TakesPkcs1WithAndWithoutPadding) {
  const std::string spki = ClientPublicKey(0);
  const std::string pkcs1 = spki.substr(kSpkiPrefixSize);
  EXPECT_THAT(ParsePublicKey(pkcs1), IsOkAndHolds(spki));
  for (size_t size = pkcs1.size(); size <= kMaxPublicKeySize; ++size) {
    EXPECT_THAT(ParsePublicKey(pkcs1 + std::string(size - pkcs1.size(), '\0')), IsOkAndHolds(spki))
        << size;
  }
}

TEST(ParsePublicKey, TakesTheCommonExponentInEitherForm) {
  const Key key = NewKey("RSA", 1024);
  const std::string spki = Encode(key, Form::kSpki);
  ASSERT_EQ(spki.size(), kMaxPublicKeySize);
  EXPECT_THAT(ParsePublicKey(spki), IsOkAndHolds(spki));
  EXPECT_THAT(ParsePublicKey(Encode(key, Form::kPkcs1)), IsOkAndHolds(spki));
}

TEST(ParsePublicKey, TakesAPaddedSubjectPublicKeyInfo) {
  const std::string spki = ClientPublicKey(0);
  EXPECT_THAT(ParsePublicKey(spki + '\0'), IsOkAndHolds(spki));
  EXPECT_THAT(ParsePublicKey(spki + std::string(2, '\0')), IsOkAndHolds(spki));
}

TEST(ParsePublicKey, RefusesMoreThanTheLargestKeyEvenIfItIsPadding) {
  EXPECT_THAT(ParsePublicKey(ClientPublicKey(0) + std::string(3, '\0')), IsRefused());
}

TEST(ParsePublicKey, RefusesOtherBytesBehindTheKey) {
  const std::string spki = ClientPublicKey(0);
  EXPECT_THAT(ParsePublicKey(spki + "x"), IsRefused());
  EXPECT_THAT(ParsePublicKey(spki.substr(kSpkiPrefixSize) + std::string("\0\1", 2)), IsRefused());
}

TEST(ParsePublicKey, RefusesAKeyThatIsCutShort) {
  const std::string spki = ClientPublicKey(0);
  const std::string pkcs1 = spki.substr(kSpkiPrefixSize);
  for (size_t size = 0; size < spki.size(); ++size) {
    EXPECT_THAT(ParsePublicKey(spki.substr(0, size)), IsRefused()) << size;
  }
  for (size_t size = 0; size < pkcs1.size(); ++size) {
    EXPECT_THAT(ParsePublicKey(pkcs1.substr(0, size)), IsRefused()) << size;
  }
}

TEST(ParsePublicKey, RefusesRsaKeysOfOtherSizes) {
  for (const int bits : {512, 768, 1016, 1023, 1025, 1032, 2048}) {
    const Key key = NewKey("RSA", bits);
    ASSERT_NE(key, nullptr) << bits;
    EXPECT_THAT(ParsePublicKey(Encode(key, Form::kSpki)), IsRefused()) << bits;
    EXPECT_THAT(ParsePublicKey(Encode(key, Form::kPkcs1)), IsRefused()) << bits;
  }
}

TEST(ParsePublicKey, RefusesKeysOfOtherKinds) {
  EXPECT_THAT(ParsePublicKey(Encode(NewKey("RSA-PSS", 1024), Form::kSpki)), IsRefused());
  const Key ec(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  EXPECT_THAT(ParsePublicKey(Encode(ec, Form::kSpki)), IsRefused());
  const Key ed25519(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free);
  EXPECT_THAT(ParsePublicKey(Encode(ed25519, Form::kSpki)), IsRefused());
}

TEST(ParsePublicKey, RefusesNumbersThatAreNoKey) {
  std::string even_exponent = ClientPublicKey(0);
  even_exponent.back() = 16;
  EXPECT_THAT(ParsePublicKey(even_exponent), IsRefused());
  std::string exponent_one = ClientPublicKey(0);
  exponent_one.back() = 1;
  EXPECT_THAT(ParsePublicKey(exponent_one), IsRefused());
  std::string even_modulus = ClientPublicKey(0);
  even_modulus[even_modulus.size() - 4] ^= 1;
  EXPECT_THAT(ParsePublicKey(even_modulus), IsRefused());
}

std::string DerOf(char tag, absl::string_view content) {
  EXPECT_LT(content.size(), 256u);
  const std::string size(1, static_cast<char>(content.size()));
  return absl::StrCat(std::string(1, tag), content.size() < 128 ? "" : "\x81", size, content);
}

// A client's key in PKCS#1 form, but with this exponent, in hex.
std::string WithExponent(absl::string_view hex) {
  const std::string spki = ClientPublicKey(0);
  const std::string modulus = spki.substr(kSpkiPrefixSize + 3, spki.size() - kSpkiPrefixSize - 6);
  return DerOf(0x30, absl::StrCat(modulus, DerOf(0x02, *HexToBytes(hex))));
}

TEST(ParsePublicKey, TakesTheExponentsOfClientsAndKeepsThemSoThatTheyAreTakenAgain) {
  for (const char* exponent : {"03", "11", "25", "0101", "010001", "7fffff"}) {
    const absl::StatusOr<std::string> der = ParsePublicKey(WithExponent(exponent));
    ASSERT_OK(der) << exponent;
    EXPECT_LE(der->size(), kMaxPublicKeySize) << exponent;
    EXPECT_THAT(ParsePublicKey(*der), IsOkAndHolds(*der)) << exponent;
  }
}

TEST(ParsePublicKey, RefusesOtherExponents) {
  for (const char* exponent : {"00", "01", "02", "10", "010000", "00800001", "0100000001",
                               "0100000000000000000000000000000000000001"}) {
    EXPECT_THAT(ParsePublicKey(WithExponent(exponent)), IsRefused()) << exponent;
  }
}

TEST(ParsePublicKey, RefusesGarbage) {
  EXPECT_THAT(ParsePublicKey(std::string(160, '\0')), IsRefused());
  EXPECT_THAT(ParsePublicKey(std::string(160, '\xFF')), IsRefused());
  for (uint32_t seed = 0; seed < 200; ++seed) {
    EXPECT_THAT(ParsePublicKey(PseudoRandomBytes(160, seed)), IsRefused()) << seed;
  }
}

TEST(ParsePublicKey, TakesADamagedKeyOnlyIfItCanBeUsed) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string sent = ClientPublicKey(0);
    sent[random() % sent.size()] = static_cast<char>(random());
    const absl::StatusOr<std::string> parsed = ParsePublicKey(sent);
    if (!parsed.ok()) {
      ASSERT_THAT(parsed, IsRefused());
      continue;
    }
    ASSERT_THAT(ParsePublicKey(*parsed), IsOkAndHolds(*parsed));
    ASSERT_OK(EncryptSessionKey(*parsed, std::string(32, 'k')));
  }
}

TEST(EncryptSessionKey, IsUndoneByTheClientsPrivateKey) {
  for (const int bits : {128, 256}) {
    for (int i : {0, 1}) {
      const std::string session_key = NewSessionKey(bits);
      const absl::StatusOr<std::string> encrypted =
          EncryptSessionKey(ClientPublicKey(i), session_key);
      ASSERT_OK(encrypted);
      EXPECT_EQ(encrypted->size(), kEncryptedSessionKeySize);
      EXPECT_EQ(Decrypt(kClientKeys[i], *encrypted), session_key);
      EXPECT_NE(Decrypt(kClientKeys[1 - i], *encrypted), session_key);
    }
  }
}

TEST(EncryptSessionKey, MayBePkcs1V15) {
  const std::string session_key = NewSessionKey(256);
  const auto encrypted =
      EncryptSessionKey(ClientPublicKey(0), session_key, SessionKeyEncryption::kRsaesPkcs1V15);
  ASSERT_OK(encrypted);
  EXPECT_EQ(encrypted->size(), kEncryptedSessionKeySize);
  EXPECT_EQ(Decrypt(kClientKeys[0], *encrypted, RSA_PKCS1_PADDING), session_key);
}

TEST(EncryptSessionKey, GivesAnotherCiphertextEachTime) {
  const std::string session_key = NewSessionKey(256);
  EXPECT_NE(*EncryptSessionKey(ClientPublicKey(0), session_key),
            *EncryptSessionKey(ClientPublicKey(0), session_key));
}

}  // namespace
}  // namespace backup::crypto
