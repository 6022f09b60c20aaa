#include "services/backupctl/decrypt.h"

#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "content/blob_footer.h"
#include "content/chunk_digest.h"
#include "content/chunk_seal.h"
#include "content/pack_footer.h"
#include "content/store_keys.h"
#include "crypto/key_generations.h"
#include "crypto/key_ring.h"
#include "crypto/sealed_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backupctl/testing/fake_service.h"
#include "services/backupctl/testing/temp_folder.h"

namespace backup::ctl {
namespace {

using ::backup::testing::HasReason;
using ::backup::testing::IsOkAndHolds;
using ::backup::testing::PseudoRandomBytes;
using ::backup::testing::StatusIs;
using content::BlobFooter;
using content::PackFooter;
using storage::StorageForm;
using ::testing::HasSubstr;
using testing::TempFolder;

constexpr size_t kMaxSize = 10 << 20;
const std::string kMasterKey(32, 'm');
const std::string kFileKey(crypto::kFileKeySize, 'f');
const std::string kPlaintext = PseudoRandomBytes(200'000);

BlobFooter FooterOf(const std::string& plaintext, StorageForm form, size_t payload_size) {
  BlobFooter footer;
  footer.client_id = *FromUuid<ClientId>(testing::kClientId);
  footer.file_name = "name";
  footer.version_id = 7;
  footer.size_bytes = static_cast<int64_t>(plaintext.size());
  footer.payload_size = static_cast<int64_t>(payload_size);
  footer.sha256 = testing::Sha256Of(plaintext);
  footer.form = form;
  return footer;
}

std::string SealedBlob(const crypto::KeyRing& ring) {
  StringSource plaintext(kPlaintext);
  crypto::SealSource sealed(plaintext, kFileKey);
  const std::string payload = *ReadAll(sealed, kMaxSize);
  BlobFooter footer = FooterOf(kPlaintext, StorageForm::kSealed, payload.size());
  footer.wrapped_key = ring.Seal(kFileKey, content::EncodeFooterFields(footer));
  return payload + content::EncodeFooter(footer);
}

// As before there were generations of keys.
std::string SealedBlob() { return SealedBlob(crypto::KeyRing(kMasterKey)); }

// AES-128-CBC under the key 00 01 .. 0f with a zero IV, made with
// `printf 'hello, backup' | openssl enc -aes-128-cbc -K 000102030405060708090a0b0c0d0e0f -iv 00 |
// xxd -p`.
constexpr char kSessionKeyHex[] = "000102030405060708090a0b0c0d0e0f";
constexpr char kCiphertextHex[] = "1d36d589168efe675cc11b7d7bfc00b9";

std::string ClientBlob() {
  const std::string payload = *HexToBytes(kCiphertextHex);
  BlobFooter footer = FooterOf("hello, backup", StorageForm::kClientCiphertext, payload.size());
  footer.wrapped_key = crypto::KeyRing(kMasterKey)
                           .Seal(*HexToBytes(kSessionKeyHex), content::EncodeFooterFields(footer));
  return payload + content::EncodeFooter(footer);
}

// Segments of 48 bytes with the IV in front of each, made with PyCryptodome.
constexpr absl::string_view kSegmentsHex =
    "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0550ea9f66abdefa7a2f0553badc5294db991fb10191aa22f547127dea4a829"
    "63"
    "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a17efbd3160ff572fc20368c381bbbdde42b1c4f9f043ff11363bdad95b79f32"
    "3e"
    "a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a20f36cd4f433e11c315704420117d01c0";
constexpr char kSegmentsPlaintext[] = "hello, backup, in segments of their own";
// Filled up with zeros.
constexpr char kZeroPaddedHex[] = "7b01cf03ae15ea546122cdaa18e06d0b";
// kSegmentsPlaintext in segments of 32 bytes, each with 16 of it, the last with a byte too many.
constexpr absl::string_view kSurplusHex =
    "6b7389f1a72e4eff608b0e946b734811b230a361a80dd6dc3533d4f960ab26b5"
    "aee8f7119ef35cda01cfea3e0bb31c85842049d7243ae61501f2574ce7522346"
    "90a760f4b66c912c7a8c54b56af143ac";

std::string ClientFormatBlob(absl::string_view payload_hex, const std::string& plaintext,
                             const crypto::CbcFormat& format) {
  const std::string payload = *HexToBytes(payload_hex);
  BlobFooter footer = FooterOf(plaintext, StorageForm::kClientFormat, payload.size());
  footer.cbc = format;
  footer.wrapped_key = crypto::KeyRing(kMasterKey)
                           .Seal(*HexToBytes(kSessionKeyHex), content::EncodeFooterFields(footer));
  return payload + content::EncodeFooter(footer);
}

using Opened = absl::StatusOr<std::unique_ptr<content::StoredContent>>;

absl::StatusOr<std::string> Read(const Opened& content) {
  RETURN_IF_ERROR(content.status());
  PieceBudget budget;
  ASSIGN_OR_RETURN(const auto plaintext, (*content)->ReadWhole(budget));
  return ReadAll(*plaintext, kMaxSize);
}

class DecryptTest : public ::testing::Test {
 protected:
  DecryptTest() { WriteKey("key", kMasterKey); }

  void WriteKey(const std::string& name, const std::string& key) const {
    folder_.Write(name, absl::StrCat(absl::BytesToHexString(key), "\n"));
    EXPECT_EQ(::chmod(folder_.Path(name).c_str(), 0600), 0);
  }

  absl::StatusOr<std::string> Decrypt(const std::string& blob, const KeyChoice& choice) {
    folder_.Write("blob", blob);
    return Read(OpenBlobFile(folder_.Path("blob"), {}, /*version_id=*/0, choice));
  }
  KeyChoice KeyFile() const {
    KeyChoice choice;
    choice.sources.master_key_file = folder_.Path("key");
    return choice;
  }
  KeyChoice KeyHex(const std::string& hex) const {
    KeyChoice choice;
    choice.key_hex = hex;
    return choice;
  }

  TempFolder folder_;
};

TEST_F(DecryptTest, ReadsAPlainBlobWithoutAKey) {
  const std::string blob = kPlaintext + content::EncodeFooter(FooterOf(
                                            kPlaintext, StorageForm::kPlain, kPlaintext.size()));
  EXPECT_THAT(Decrypt(blob, KeyChoice()), IsOkAndHolds(kPlaintext));
}

TEST_F(DecryptTest, ReadsASealedBlobWithTheMasterKey) {
  EXPECT_THAT(Decrypt(SealedBlob(), KeyFile()), IsOkAndHolds(kPlaintext));
  EXPECT_THAT(Decrypt(SealedBlob(), KeyHex(absl::BytesToHexString(kMasterKey))),
              IsOkAndHolds(kPlaintext));
}

TEST_F(DecryptTest, ReadsWhatAGenerationOfKeysHasSealedWithTheFileOfThem) {
  crypto::KeyRing ring;
  ring.Add(3, std::string(32, 'g'));
  const std::string blob = SealedBlob(ring);
  const auto missing = Decrypt(blob, KeyFile());
  EXPECT_THAT(missing, HasReason(Reason::kKeyMissing));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("generation 3"));
  const auto generations = [](const std::string& master_key) {
    return crypto::EncodeGenerations({crypto::WrapGeneration(
        3, absl::UnixEpoch(), std::string(32, 'g'), crypto::MasterKey(master_key))});
  };
  folder_.Write("elsewhere", generations(kMasterKey));
  for (KeyChoice choice : {KeyFile(), KeyHex(absl::BytesToHexString(kMasterKey))}) {
    choice.sources.generations_file = folder_.Path("elsewhere");
    EXPECT_THAT(Decrypt(blob, choice), IsOkAndHolds(kPlaintext));
    EXPECT_THAT(Decrypt(SealedBlob(), choice), IsOkAndHolds(kPlaintext));
    choice.sources.generations_file = folder_.Path("nowhere");
    EXPECT_THAT(Decrypt(blob, choice), StatusIs(absl::StatusCode::kNotFound));
  }
  // Beside the master key it is found.
  folder_.Write("key.generations", generations(kMasterKey));
  EXPECT_THAT(Decrypt(blob, KeyFile()), IsOkAndHolds(kPlaintext));
  folder_.Write("key.generations", generations(std::string(32, 'o')));
  EXPECT_THAT(Decrypt(blob, KeyFile()), StatusIs(absl::StatusCode::kFailedPrecondition));
  // Unless the key that was replaced is there, too.
  WriteKey("old key", std::string(32, 'o'));
  KeyChoice with_old = KeyFile();
  with_old.sources.old_master_key_files = {folder_.Path("old key")};
  EXPECT_THAT(Decrypt(blob, with_old), IsOkAndHolds(kPlaintext));
  folder_.Write("key.generations", "nonsense");
  EXPECT_THAT(Decrypt(blob, KeyFile()), HasReason(Reason::kStateCorrupt));
}

TEST_F(DecryptTest, ReadsAClientsCiphertextWithItsSessionKeyOrTheMasterKey) {
  EXPECT_THAT(Decrypt(ClientBlob(), KeyHex(kSessionKeyHex)), IsOkAndHolds("hello, backup"));
  EXPECT_THAT(Decrypt(ClientBlob(), KeyFile()), IsOkAndHolds("hello, backup"));
}

TEST_F(DecryptTest, ReadsAClientsCiphertextInAnyFormat) {
  using Format = crypto::CbcFormat;
  const std::string segments = ClientFormatBlob(kSegmentsHex, kSegmentsPlaintext,
                                                {.cut = Format::Cut::kEqualSegments,
                                                 .initial_vector = Format::InitialVector::kInFront,
                                                 .segment_size = 48});
  const std::string padded =
      ClientFormatBlob(kZeroPaddedHex, "hello, backup", {.padding = Format::Padding::kZeros});
  const std::string surplus = ClientFormatBlob(kSurplusHex, kSegmentsPlaintext,
                                               {.cut = Format::Cut::kEqualSegments,
                                                .padding = Format::Padding::kPkcs7AndSurplus,
                                                .segment_size = 32});
  for (const KeyChoice& key : {KeyHex(kSessionKeyHex), KeyFile()}) {
    EXPECT_THAT(Decrypt(segments, key), IsOkAndHolds(kSegmentsPlaintext));
    EXPECT_THAT(Decrypt(surplus, key), IsOkAndHolds(kSegmentsPlaintext));
    EXPECT_THAT(Decrypt(padded, key), IsOkAndHolds("hello, backup"));
  }
}

// Whoever changes the format in a blob is found out by the key, which is wrapped with it.
TEST_F(DecryptTest, RefusesABlobWhoseFormatWasChanged) {
  BlobFooter footer =
      FooterOf("hello, backup", StorageForm::kClientFormat, crypto::kCipherBlockSize);
  footer.cbc.padding = crypto::CbcFormat::Padding::kZeros;
  footer.wrapped_key = crypto::KeyRing(kMasterKey)
                           .Seal(*HexToBytes(kSessionKeyHex), content::EncodeFooterFields(footer));
  footer.cbc.padding = crypto::CbcFormat::Padding::kPkcs7;
  EXPECT_THAT(Decrypt(*HexToBytes(kZeroPaddedHex) + content::EncodeFooter(footer), KeyFile()),
              HasReason(Reason::kBlobDamaged));
}

TEST_F(DecryptTest, RefusesAMissingOrMalformedOrWrongKey) {
  EXPECT_THAT(Decrypt(SealedBlob(), KeyChoice()), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Decrypt(SealedBlob(), KeyHex("xyz")), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Decrypt(SealedBlob(), KeyHex(kSessionKeyHex)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Decrypt(SealedBlob(), KeyHex(std::string(64, '0'))), HasReason(Reason::kBlobDamaged));
  EXPECT_FALSE(Decrypt(ClientBlob(), KeyHex(std::string(32, '0'))).ok());
}

TEST_F(DecryptTest, FindsDamageAnywhereInASealedBlob) {
  const std::string intact = SealedBlob();
  for (const size_t at : {size_t{0}, intact.size() / 2, intact.size() - 100, intact.size() - 1}) {
    std::string blob = intact;
    blob[at] ^= 1;
    EXPECT_THAT(Decrypt(blob, KeyFile()), HasReason(Reason::kBlobDamaged)) << at;
  }
  EXPECT_THAT(Decrypt(intact.substr(0, 1000), KeyFile()), HasReason(Reason::kBlobDamaged));
}

// A file of three chunks in two packs, as an upload leaves them, of which the first chunk was there
// already, in a third.
class PacksTest : public DecryptTest {
 protected:
  void Store(StorageForm form) {
    version_.client_id = *FromUuid<ClientId>(testing::kClientId);
    version_.file_name = "name";
    version_.version_id = 7;
    version_.form = form;
    std::vector<storage::ChunkRef> steps;
    std::string all;
    for (const std::string& bytes : kChunks) {
      steps.push_back({content::ChunkIdOf(id_key_, bytes), std::ssize(bytes)});
      all += bytes;
    }
    version_.size_bytes = std::ssize(all);
    version_.sha256 = testing::Sha256Of(all);
    PackFooter known;
    known.parts.push_back({std::string(16, 'o'), 0, {}, std::nullopt});
    WritePack("known", form, {"other", kChunks[0]}, known);
    PackFooter first;
    first.format = PackFooter::Format::kOnePart;  // As older programs wrote it.
    first.parts.push_back({std::string(16, 'c'), 0, {steps[0], steps[1]}, std::nullopt});
    WritePack("first", form, {kChunks[1]}, first);
    PackFooter last;
    last.parts.push_back({std::string(16, 'c'), 2, {steps[2]}, version_});
    WritePack("last", form, {kChunks[2]}, last);
    PackFooter merged;
    merged.parts = {first.parts[0], known.parts[0], last.parts[0]};
    WritePack("merged", form, {kChunks[1], kChunks[2]}, merged);
    plaintext_ = all;
  }

  void WritePack(const std::string& name, StorageForm form, const std::vector<std::string>& chunks,
                 PackFooter footer) {
    footer.pack_id = *BlobId::FromBytes(testing::Sha256Of(name).substr(0, 16));
    footer.form = form;
    footer.sealed_secret = keys_->sealed_secret();
    if (form == StorageForm::kSealed)
      footer.wrapped_key = content::WrapPackKey(kFileKey, footer.pack_id, master_key_);
    content::ChunkSealer sealer(kFileKey, footer.pack_id);
    std::string pack = "garbage";
    for (const std::string& bytes : chunks) {
      storage::PackedChunk chunk;
      chunk.id = content::ChunkIdOf(id_key_, bytes);
      chunk.size_bytes = std::ssize(bytes);
      chunk.offset = std::ssize(pack);
      chunk.index = static_cast<int>(footer.chunks.size());
      if (form == StorageForm::kSealed) {
        sealer.Begin(chunk.index);
        sealer.Update(bytes, pack);
        sealer.Finish(chunk.id, pack);
      } else {
        pack += bytes;
      }
      chunk.stored_size = std::ssize(pack) - chunk.offset;
      footer.chunks.push_back(chunk);
    }
    folder_.Write(name, pack + content::EncodePackFooter(footer, kFileKey));
  }

  absl::StatusOr<std::string> ReadPack(const std::string& name, const MorePacks& more,
                                       const KeyChoice& key, int64_t version_id = 0) {
    return Read(OpenBlobFile(folder_.Path(name), more, version_id, key));
  }

  static inline const std::vector<std::string> kChunks = {
      std::string(1000, 'a'), PseudoRandomBytes(200'000), std::string(7, 'z')};
  const crypto::KeyRing master_key_{kMasterKey};
  const std::unique_ptr<content::StoreKeys> keys_ =
      content::StoreKeys::Open(content::StoreKeys::NewSealedSecret(master_key_), master_key_)
          .value();
  const content::ChunkIdKey id_key_ = keys_->IdKey(storage::StorageForm::kPlain);
  storage::Version version_;
  std::string plaintext_;
};

TEST_F(PacksTest, AFileIsReadFromAnyPackThatItWasStoredWith) {
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    Store(form);
    for (const char* const pack : {"first", "last"}) {
      EXPECT_THAT(ReadPack(pack, {.files = {}, .folder = folder_.Path("")}, KeyFile()),
                  IsOkAndHolds(plaintext_));
    }
    const MorePacks named{{folder_.Path("known"), folder_.Path("first")}, ""};
    EXPECT_THAT(ReadPack("last", named, KeyHex(absl::BytesToHexString(kMasterKey))),
                IsOkAndHolds(plaintext_));
    const absl::StatusOr<std::string> without_key = ReadPack("last", named, KeyChoice());
    if (form == StorageForm::kPlain) {
      EXPECT_THAT(without_key, IsOkAndHolds(plaintext_));
    } else {
      EXPECT_THAT(without_key, StatusIs(absl::StatusCode::kInvalidArgument));
    }
  }
}

TEST_F(PacksTest, OfAPackThatTellsOfSeveralFilesTheVersionSaysWhich) {
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    Store(form);
    const MorePacks more{{folder_.Path("known")}, ""};
    EXPECT_THAT(ReadPack("merged", more, KeyFile(), 7), IsOkAndHolds(plaintext_));
    absl::Status status = ReadPack("merged", more, KeyFile()).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(status.message(), HasSubstr("2 files: give one of them as --version: 7 (name), "));
    status = ReadPack("merged", more, KeyFile(), 8).status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
    EXPECT_THAT(status.message(), HasSubstr("does not tell of version 8, but of 7 (name), "));
  }
}

TEST_F(PacksTest, WhatIsMissingIsSaid) {
  Store(StorageForm::kSealed);
  absl::Status status = ReadPack("last", {{folder_.Path("first")}, ""}, KeyFile()).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(status.message(), HasSubstr("the chunk at byte 0 of name"));
  EXPECT_THAT(status.message(), HasSubstr("none of the 2 packs"));
  status = ReadPack("last", {{folder_.Path("known")}, ""}, KeyFile()).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(status.message(), HasSubstr("behind byte 0 of name"));
  status = ReadPack("first", {{folder_.Path("known")}, ""}, KeyFile()).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(status.message(), HasSubstr("the record of this file"));
  WritePack("job", StorageForm::kPlain, {"x"}, {});
  EXPECT_THAT(ReadPack("job", {}, KeyFile()), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ReadPack("last", {{}, folder_.Path("mistyped")}, KeyFile()),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ReadPack("last", {}, KeyHex(std::string(64, '0'))), HasReason(Reason::kBlobDamaged));
}

TEST_F(PacksTest, DamageIsFoundWithAndWithoutTheKey) {
  Store(StorageForm::kPlain);
  std::filesystem::remove(folder_.Path("merged"));
  const MorePacks more{{}, folder_.Path("")};
  std::string pack = folder_.Read("first");
  pack[100'000] = static_cast<char>(pack[100'000] ^ 1);
  folder_.Write("first", pack);
  const absl::Status status = ReadPack("last", more, KeyFile()).status();
  EXPECT_THAT(status, HasReason(Reason::kBlobDamaged));
  EXPECT_THAT(status.message(), HasSubstr("the chunk at byte 1000"));
  EXPECT_THAT(ReadPack("last", more, KeyChoice()), HasReason(Reason::kBlobDamaged));
}

TEST_F(PacksTest, ADamagedChunkIsReadFromAnotherPackThatHasIt) {
  for (const StorageForm form : {StorageForm::kPlain, StorageForm::kSealed}) {
    Store(form);
    std::filesystem::remove(folder_.Path("merged"));
    for (const char* const copy : {"again", "once more"}) WritePack(copy, form, kChunks, {});
    const MorePacks more{{}, folder_.Path("")};
    // Whichever comes first, it is damaged once.
    for (const char* const name : {"again", "first", "once more"}) {
      const std::string intact = folder_.Read(name);
      std::string pack = intact;
      pack[100'000] = static_cast<char>(pack[100'000] ^ 1);
      folder_.Write(name, pack);
      EXPECT_THAT(ReadPack("last", more, KeyFile()), IsOkAndHolds(plaintext_)) << name;
      if (std::string(name) != "again") folder_.Write(name, intact);
    }
  }
}

TEST_F(PacksTest, WhatCannotBeReadDoesNotEndTheSearch) {
  Store(StorageForm::kPlain);
  WritePack("a sealed one", StorageForm::kSealed, {"x"}, {});
  MorePacks more{{folder_.Path("a lost one")}, folder_.Path("")};
  EXPECT_THAT(ReadPack("last", more, KeyChoice()), IsOkAndHolds(plaintext_));
  std::filesystem::remove(folder_.Path("known"));
  const absl::Status status = ReadPack("last", more, KeyChoice()).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(status.message(), HasSubstr("(2 more could not be read, perhaps for want of"));
}

TEST_F(DecryptTest, MakesNothingWhereThereIsNoDataDirectory) {
  EXPECT_THAT(OpenDataDir(folder_.Path("mistyped"), {}).status(),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_FALSE(std::filesystem::exists(folder_.Path("mistyped")));
}

class DataDirTest : public ::testing::Test {
 protected:
  // A version kept in the catalog, sealed under the directory's own master key, as a service leaves
  // it.
  void SetUp() override {
    auto storage = OpenStorage(folder_.Path("data"), {});
    ASSERT_OK(storage);
    ASSERT_OK(storage->catalog->Run([&](storage::Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(transaction
                          .RegisterClient("laptop", *FromUuid<ClientId>(testing::kClientId),
                                          storage::DuplicateNames::kReject, absl::Now())
                          .status());
      ASSIGN_OR_RETURN(const int64_t version_id, transaction.ReserveVersionIds(1));
      const crypto::KeyRing ring(std::string(storage->master_keys.current->bytes()));
      return Store(transaction, version_id, ring);
    }));
  }

  static absl::Status Store(storage::Transaction& transaction, int64_t version_id,
                            const crypto::KeyRing& master_key) {
    StringSource plaintext("secret");
    crypto::SealSource sealed(plaintext, kFileKey);
    const std::string payload = *ReadAll(sealed, kMaxSize);
    BlobFooter footer = FooterOf("secret", StorageForm::kSealed, payload.size());
    footer.version_id = version_id;
    footer.wrapped_key = master_key.Seal(kFileKey, content::EncodeFooterFields(footer));
    RETURN_IF_ERROR(
        transaction
            .AddVersion(content::VersionOf(footer), payload + content::EncodeFooter(footer), {})
            .status());
    storage::Verdict verdict;
    verdict.client = footer.client_id;
    verdict.file_name = footer.file_name;
    return transaction.SettleVersion(verdict, absl::Now()).status();
  }

  TempFolder folder_;
};

TEST_F(DataDirTest, AFileIsReadByItsClientsNameOrId) {
  const auto storage = OpenDataDir(folder_.Path("data"), {});
  ASSERT_OK(storage);
  for (const char* client : {"laptop", testing::kClientId}) {
    EXPECT_THAT(Read(OpenStoredFile(*storage, client, "name", 0)), IsOkAndHolds("secret"));
  }
}

TEST_F(DataDirTest, WhatIsNotThereIsSaidByName) {
  const auto storage = OpenDataDir(folder_.Path("data"), {});
  ASSERT_OK(storage);
  EXPECT_THAT(OpenStoredFile(*storage, "nobody", "name", 0).status(),
              HasReason(Reason::kClientNotFound));
  EXPECT_THAT(OpenStoredFile(*storage, "laptop", "other", 0).status(),
              HasReason(Reason::kFileNotFound));
  EXPECT_THAT(OpenStoredFile(*storage, "laptop", "name", 999).status(),
              HasReason(Reason::kVersionNotFound));
}

TEST_F(DataDirTest, ADirectoryThatAServiceHoldsIsLeftAlone) {
  const auto service = OpenStorage(folder_.Path("data"), {});
  ASSERT_OK(service);
  EXPECT_THAT(OpenDataDir(folder_.Path("data"), {}).status(), StatusIs(absl::StatusCode::kAborted));
}

TEST_F(DataDirTest, AMissingKeyIsNotMadeUp) {
  std::filesystem::remove(folder_.Path("data/master.key"));
  EXPECT_THAT(OpenDataDir(folder_.Path("data"), {}).status(),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_FALSE(std::filesystem::exists(folder_.Path("data/master.key")));
}

}  // namespace
}  // namespace backup::ctl
