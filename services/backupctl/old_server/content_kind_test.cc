#include "services/backupctl/old_server/content_kind.h"

#include <openssl/evp.h>

#include <string>

#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace backup::ctl::old_server {
namespace {

using ::backup::testing::PseudoRandomBytes;

const std::string kKey(16, 'k');

std::string Encrypt(const std::string& plain, const std::string& key = kKey) {
  std::string out(plain.size() + 16, '\0');
  const auto bytes = [](auto& text) { return reinterpret_cast<unsigned char*>(text.data()); };
  const unsigned char iv[16] = {};
  EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
  int size = 0;
  int last = 0;
  EVP_EncryptInit_ex(context, key.size() == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc(), nullptr,
                     reinterpret_cast<const unsigned char*>(key.data()), iv);
  EVP_EncryptUpdate(context, bytes(out), &size,
                    reinterpret_cast<const unsigned char*>(plain.data()),
                    static_cast<int>(plain.size()));
  EVP_EncryptFinal_ex(context, bytes(out) + size, &last);
  EVP_CIPHER_CTX_free(context);
  out.resize(static_cast<size_t>(size + last));
  return out;
}

Evidence Of(const std::string& content, const std::string& key = kKey) {
  return Examine(StringAccess(content), key).value();
}

TEST(ContentKindTest, TellsCiphertextOfAnySize) {
  for (size_t size = 0; size < 100; ++size) {
    const std::string text(size, 'a');
    for (const std::string& key : {kKey, std::string(32, 'K')}) {
      const Evidence evidence = Of(Encrypt(text, key), key);
      EXPECT_EQ(evidence.kind, ContentKind::kEncrypted) << size;
      EXPECT_FALSE(evidence.could_be_both) << size;
      EXPECT_TRUE(evidence.fits_key) << size;
    }
  }
  EXPECT_EQ(Of(Encrypt(std::string(1'000'000, '\0'))).kind, ContentKind::kEncrypted);
}

TEST(ContentKindTest, TellsPlaintext) {
  for (const std::string& plain :
       {std::string(), std::string("short"), std::string(16, '\0'), std::string(4096, 'x'),
        PseudoRandomBytes(4096), PseudoRandomBytes(4097)}) {
    const Evidence evidence = Of(plain);
    EXPECT_EQ(evidence.kind, ContentKind::kPlain) << plain.size();
    EXPECT_FALSE(evidence.could_be_both) << plain.size();
  }
  EXPECT_EQ(Of(Encrypt("content"), "").kind, ContentKind::kPlain);
}

TEST(ContentKindTest, SaysWhatLooksEncryptedUnderAnotherKey) {
  const std::string other = Encrypt(std::string(1000, 'a'), std::string(16, 'o'));
  EXPECT_TRUE(Of(other).looks_encrypted);
  EXPECT_TRUE(Of(other, "").looks_encrypted);
  EXPECT_FALSE(Of(std::string(1008, 'a')).looks_encrypted);
}

// A file whose last block decrypts to a right padding by chance.
std::string PlainThatFits(const std::string& begin) {
  for (int i = 0; i < 100'000; ++i) {
    std::string content = begin;
    for (int at = 1; at <= 4; ++at)
      content[content.size() - static_cast<size_t>(at)] =
          static_cast<char>('a' + (i >> (4 * (at - 1))) % 16);
    if (Of(content).fits_key) return content;
  }
  ADD_FAILURE() << "none of 100 000 fits";
  return "";
}

TEST(ContentKindTest, TextThatFitsByChanceIsTextAndToldAsDoubtful) {
  const Evidence evidence = Of(PlainThatFits(std::string(64, 't')));
  EXPECT_EQ(evidence.kind, ContentKind::kPlain);
  EXPECT_TRUE(evidence.could_be_both);
  EXPECT_FALSE(evidence.undecided);
}

TEST(ContentKindTest, RandomBytesThatFitByChanceAreLeftToTheOtherFiles) {
  const Evidence evidence = Of(PlainThatFits(PseudoRandomBytes(1024)));
  EXPECT_TRUE(evidence.could_be_both);
  EXPECT_TRUE(evidence.undecided);
}

TEST(ContentKindTest, CiphertextOfRandomBytesWithOneByteOfPaddingIsDoubtfulToo) {
  const Evidence evidence = Of(Encrypt(PseudoRandomBytes(1023)));
  EXPECT_EQ(evidence.kind, ContentKind::kEncrypted);
  EXPECT_TRUE(evidence.undecided);
  EXPECT_FALSE(Of(Encrypt(PseudoRandomBytes(1022))).could_be_both);
}

TEST(ContentKindTest, KnowsRandomBytesFromOthers) {
  for (const char* text : {"0123456789abcdef", "a short sentence", "{\"json\": [1, 2]}\n"})
    EXPECT_FALSE(LooksRandom(text)) << text;
  EXPECT_FALSE(LooksRandom(std::string(16, '\xFF')));
  // Hebrew, in UTF-8.
  EXPECT_FALSE(LooksRandom("\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D"));
  const std::string random = PseudoRandomBytes(100'000);
  for (size_t size = 16; size < random.size(); size += size / 3)
    EXPECT_TRUE(LooksRandom(random.substr(0, size))) << size;
}

}  // namespace
}  // namespace backup::ctl::old_server
