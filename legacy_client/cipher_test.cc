#include "legacy_client/cipher.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/byte_stream.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "legacy_client/encrypted_file.h"
#include "legacy_client/text_content.h"

namespace backup::legacy_client {
namespace {

using ::backup::testing::PseudoRandomBytes;
using ::backup::testing::StatusIs;

constexpr char kKey[] = "0123456789abcdef";

// In one call, straight through OpenSSL.
std::string Decrypt(absl::string_view ciphertext, const std::string& vector = std::string(16, '\0'),
                    bool is_padded = true) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  std::string plaintext(ciphertext.size() + 16, '\0');
  auto* out = reinterpret_cast<unsigned char*>(plaintext.data());
  int size = 0;
  int last = 0;
  EVP_DecryptInit_ex(context.get(), EVP_aes_128_cbc(), nullptr,
                     reinterpret_cast<const unsigned char*>(kKey),
                     reinterpret_cast<const unsigned char*>(vector.data()));
  EVP_CIPHER_CTX_set_padding(context.get(), is_padded ? 1 : 0);
  EXPECT_EQ(EVP_DecryptUpdate(context.get(), out, &size,
                              reinterpret_cast<const unsigned char*>(ciphertext.data()),
                              static_cast<int>(ciphertext.size())),
            1);
  EXPECT_EQ(EVP_DecryptFinal_ex(context.get(), out + size, &last), 1);
  plaintext.resize(static_cast<size_t>(size + last));
  return plaintext;
}

// Each `chunk_size` of `ciphertext`, and the rest, on its own.
std::string DecryptChunks(absl::string_view ciphertext, size_t chunk_size) {
  std::string plaintext;
  while (!ciphertext.empty()) {
    plaintext += Decrypt(ciphertext.substr(0, chunk_size));
    ciphertext.remove_prefix(std::min(chunk_size, ciphertext.size()));
  }
  return plaintext;
}

template <typename Checksum>
uint32_t Sum(absl::string_view bytes) {
  Checksum checksum;
  checksum.Update(bytes);
  return checksum.Value();
}

class EncryptedFileTest : public ::testing::Test {
 protected:
  EncryptedFileTest() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "/cipher_test.XXXXXX");
    dir_ = mkdtemp(pattern.data());
    path_ = absl::StrCat(dir_, "/file");
  }
  ~EncryptedFileTest() override { std::filesystem::remove_all(dir_); }

  void Write(absl::string_view bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  std::string dir_;
  std::string path_;
};

TEST(CbcEncryptor, GivesTheKnownBytes) {
  // echo -n hello | openssl enc -aes-128-cbc -K 30313233343536373839616263646566 -iv 0
  CbcEncryptor encryptor(kKey);
  std::string out(32, '\0');
  size_t size = encryptor.Update("hello", out);
  size += encryptor.Finish(std::span<char>(out).subspan(size));
  EXPECT_EQ(absl::BytesToHexString(out.substr(0, size)), "674c7ef38e78cabd9cec9c125823a639");
}

TEST(CbcEncryptor, LongKeysAreForAes256) {
  // echo -n hello | openssl enc -aes-256-cbc -K KEY, the hex digits above twice, -iv 0
  CbcEncryptor encryptor(absl::StrCat(kKey, kKey));
  std::string out(32, '\0');
  size_t size = encryptor.Update("hello", out);
  size += encryptor.Finish(std::span<char>(out).subspan(size));
  EXPECT_EQ(absl::BytesToHexString(out.substr(0, size)), "a59c096412eecb79830021104f861307");
}

TEST(CbcEncryptor, SizeIsKnownBeforehand) {
  EXPECT_EQ(EncryptedSize(0), 16);
  EXPECT_EQ(EncryptedSize(15), 16);
  EXPECT_EQ(EncryptedSize(16), 32);
  EXPECT_EQ(EncryptedSize(int64_t{1} << 33), (int64_t{1} << 33) + 16);
}

TEST_F(EncryptedFileTest, DecryptsToTheFileAtEverySizeThatMatters) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{15}, size_t{16}, size_t{17},
                            kPieceSize - 1, kPieceSize, kPieceSize + 1, 5 * kPieceSize + 7}) {
    const std::string plaintext = PseudoRandomBytes(size);
    Write(plaintext);
    const auto file = EncryptedFile::Open(path_, kKey, {});
    ASSERT_OK(file);
    StringSink sink;
    const auto copied = CopyAll(**file, sink);
    ASSERT_OK(copied);
    EXPECT_EQ(*copied, (*file)->ciphertext_size());
    EXPECT_EQ((*file)->plaintext_size(), static_cast<int64_t>(size));
    EXPECT_TRUE(Decrypt(sink.bytes()) == plaintext) << size;
  }
}

TEST_F(EncryptedFileTest, ChunksAreEncryptedEachOnItsOwn) {
  for (const int64_t chunk_size : {1, 16, 1000, 1 << 20, (1 << 20) + 7, 3 << 20}) {
    for (const int64_t size : {int64_t{0}, int64_t{1}, chunk_size - 1, chunk_size, chunk_size + 1,
                               3 * chunk_size, 5 * chunk_size + 3}) {
      const std::string plaintext = PseudoRandomBytes(static_cast<size_t>(size));
      Write(plaintext);
      const auto file = EncryptedFile::Open(
          path_, kKey,
          {.checksum_kind = ChecksumKind::kCrc32OfCiphertext, .chunk_size = chunk_size});
      ASSERT_OK(file);
      StringSink sink;
      ASSERT_OK(CopyAll(**file, sink));
      ASSERT_EQ(static_cast<int64_t>(sink.bytes().size()), (*file)->ciphertext_size());
      EXPECT_TRUE(DecryptChunks(sink.bytes(), static_cast<size_t>(EncryptedSize(chunk_size))) ==
                  plaintext)
          << size << " in chunks of " << chunk_size;
      EXPECT_EQ((*file)->Checksum(), Sum<Crc32>(sink.bytes()));
    }
  }
}

TEST_F(EncryptedFileTest, KeepsTheChecksumItIsAskedFor) {
  const std::string plaintext = PseudoRandomBytes(3 * kPieceSize + 5);
  Write(plaintext);
  const auto checksum = [&](ChecksumKind kind, StringSink& sink) {
    const auto file = EncryptedFile::Open(path_, kKey, {.checksum_kind = kind});
    EXPECT_OK(CopyAll(**file, sink));
    return (*file)->Checksum();
  };
  StringSink sink;
  EXPECT_EQ(checksum(ChecksumKind::kCksumOfPlaintext, sink), Sum<Cksum>(plaintext));
  const std::string ciphertext = sink.bytes();
  EXPECT_EQ(checksum(ChecksumKind::kCrc32OfPlaintext, sink), Sum<Crc32>(plaintext));
  EXPECT_EQ(checksum(ChecksumKind::kCksumOfCiphertext, sink), Sum<Cksum>(ciphertext));
  EXPECT_EQ(checksum(ChecksumKind::kCrc32OfCiphertext, sink), Sum<Crc32>(ciphertext));
}

// As `options` say, one chunk after the other, straight through OpenSSL.
std::string DecryptAll(absl::string_view ciphertext, const EncryptionOptions& options) {
  std::string plaintext;
  int64_t chunk_size =
      options.first_chunk_size == 0 ? options.chunk_size : options.first_chunk_size;
  while (!ciphertext.empty()) {
    const size_t size = options.chunk_size == 0
                            ? ciphertext.size()
                            : static_cast<size_t>(ChunkEncryptedSize(options, chunk_size));
    absl::string_view chunk = ciphertext.substr(0, size);
    ciphertext.remove_prefix(chunk.size());
    std::string vector(16, '\0');
    if (options.vector_in_front) {
      vector = std::string(chunk.substr(0, 16));
      chunk.remove_prefix(16);
    }
    plaintext += Decrypt(chunk, vector, options.padding == CipherPadding::kPkcs7);
    chunk_size = options.chunk_size;
  }
  return plaintext;
}

TEST_F(EncryptedFileTest, ChunksMayHaveVectorsZerosAndASmallerFirst) {
  const EncryptionOptions kinds[] = {
      {.vector_in_front = true},
      {.padding = CipherPadding::kZeros},
      {.chunk_size = 1008, .first_chunk_size = 720},
      {.chunk_size = 16, .vector_in_front = true},
      {.chunk_size = 64, .padding = CipherPadding::kZeros, .vector_in_front = true},
      {.plaintext_multiple_of = 16},
      {.chunk_size = 1000, .plaintext_multiple_of = 777},
  };
  for (EncryptionOptions options : kinds) {
    options.checksum_kind = ChecksumKind::kCrc32OfPlaintext;
    for (const size_t size : {0, 1, 15, 16, 17, 720, 721, 3000, (1 << 20) + 5}) {
      std::string plaintext = PseudoRandomBytes(size);
      Write(plaintext);
      const auto file = EncryptedFile::Open(path_, kKey, options);
      ASSERT_OK(file);
      StringSink sink;
      ASSERT_OK(CopyAll(**file, sink));
      const auto multiple = static_cast<size_t>(options.plaintext_multiple_of);
      plaintext.resize((size + multiple - 1) / multiple * multiple);
      EXPECT_EQ((*file)->plaintext_size(), static_cast<int64_t>(plaintext.size()));
      EXPECT_EQ((*file)->ciphertext_size(), static_cast<int64_t>(sink.bytes().size()));
      EXPECT_EQ((*file)->Checksum(), Sum<Crc32>(plaintext));
      const std::string decrypted = DecryptAll(sink.bytes(), options);
      EXPECT_TRUE(decrypted.substr(0, plaintext.size()) == plaintext) << size;
      EXPECT_LT(decrypted.size(), plaintext.size() + 16);
    }
  }
}

TEST_F(EncryptedFileTest, VectorsAreNewEachTimeAndCountInTheChecksum) {
  Write("plaintext");
  const EncryptionOptions options = {.checksum_kind = ChecksumKind::kCrc32OfCiphertext,
                                     .vector_in_front = true};
  std::string ciphertexts[2];
  for (std::string& ciphertext : ciphertexts) {
    const auto file = EncryptedFile::Open(path_, kKey, options);
    StringSink sink;
    ASSERT_OK(CopyAll(**file, sink));
    ciphertext = sink.bytes();
    EXPECT_EQ((*file)->Checksum(), Sum<Crc32>(ciphertext));
  }
  EXPECT_NE(ciphertexts[0].substr(0, 16), ciphertexts[1].substr(0, 16));
}

TEST_F(EncryptedFileTest, ZerosThatAreStoredAreSummed) {
  Write("plaintext");
  const auto checksum = [&](bool stored) {
    const auto file = EncryptedFile::Open(path_, kKey,
                                          {.checksum_kind = ChecksumKind::kCrc32OfPlaintext,
                                           .padding = CipherPadding::kZeros,
                                           .padding_is_stored = stored});
    StringSink sink;
    EXPECT_OK(CopyAll(**file, sink));
    return (*file)->Checksum();
  };
  EXPECT_EQ(checksum(false), Sum<Crc32>("plaintext"));
  EXPECT_EQ(checksum(true), Sum<Crc32>(std::string("plaintext\0\0\0\0\0\0\0", 16)));
}

TEST(TextContent, IsTheTextOfAll) {
  const std::string bytes = PseudoRandomBytes(1000);
  for (const size_t piece_size : {1, 2, 3, 7, 1000}) {
    for (const auto encoding : {bridge::v1::HEX, bridge::v1::BASE64}) {
      StringSource source(bytes, piece_size);
      bridge::v1::FileContent form;
      form.set_text(encoding);
      TextContent text(source, form);
      StringSink sink;
      ASSERT_OK(CopyAll(text, sink));
      EXPECT_EQ(sink.bytes(), encoding == bridge::v1::HEX ? absl::BytesToHexString(bytes)
                                                          : absl::Base64Escape(bytes))
          << piece_size;
    }
  }
}

TEST(TextContent, HasLineBreaksWhereItsFormSaysSo) {
  bridge::v1::FileContent form;
  form.set_text(bridge::v1::BASE64);
  form.set_text_line_width(4);
  for (const auto& [bytes, expected] : std::map<std::string, std::string>{
           {"", ""}, {"A", "QQ==\n"}, {"ABC", "QUJD\n"}, {"ABCABCAB", "QUJD\nQUJD\nQUI=\n"}}) {
    for (const bool ends_without : {false, true}) {
      form.set_text_ends_without_line_break(ends_without);
      StringSource source(bytes, 2);
      TextContent text(source, form);
      StringSink sink;
      ASSERT_OK(CopyAll(text, sink));
      const size_t size = expected.size() - (ends_without && !bytes.empty() ? 1 : 0);
      EXPECT_EQ(sink.bytes(), expected.substr(0, size));
      EXPECT_EQ(ContentTextSize(form, static_cast<int64_t>(bytes.size())),
                static_cast<int64_t>(size));
    }
  }
}

TEST_F(EncryptedFileTest, StaysAtItsEnd) {
  Write("short");
  const auto file = EncryptedFile::Open(path_, kKey, {});
  ASSERT_OK(file);
  EXPECT_EQ((*file)->Read()->size(), 16u);
  EXPECT_EQ((*file)->Read()->size(), 0u);
  EXPECT_EQ((*file)->Read()->size(), 0u);
}

TEST_F(EncryptedFileTest, MayBeLeftUnread) {
  Write(PseudoRandomBytes(6 * kPieceSize));
  const auto file = EncryptedFile::Open(path_, kKey, {});
  ASSERT_OK(file);
  EXPECT_OK((*file)->Read());
}

TEST_F(EncryptedFileTest, SaysSoWhenTheFileBecomesShorter) {
  Write(PseudoRandomBytes(8 * kPieceSize));
  const auto file = EncryptedFile::Open(path_, kKey, {});
  ASSERT_OK(file);
  ASSERT_OK((*file)->Read());
  ASSERT_EQ(truncate(path_.c_str(), 10), 0);  // At most three pieces have been read by now.
  StringSink sink;
  EXPECT_THAT(CopyAll(**file, sink), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(EncryptedFileTest, CannotBeWhatIsNoFile) {
  EXPECT_THAT(EncryptedFile::Open(path_, kKey, {}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(EncryptedFile::Open(dir_, kKey, {}), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace backup::legacy_client
