#include "services/backup/handlers/keys.h"

#include <filesystem>
#include <memory>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/random_cut_source.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backup/testing/memory_service.h"

namespace backup::handlers {
namespace {

using ::testing::HasSubstr;
using testing::PseudoRandomBytes;

// A store whose master key is 'k', which is to be replaced by 'n'.
class KeysTest : public ::testing::Test {
 protected:
  KeysTest() {
    std::string pattern = absl::StrCat(::testing::TempDir(), "keys_test.XXXXXX");
    folder_ = mkdtemp(pattern.data());
    crypto::MasterKeys keys;
    keys.current = std::make_unique<crypto::MasterKey>(std::string(32, 'n'));
    keys.old.push_back(std::make_unique<crypto::MasterKey>(std::string(32, 'k')));
    keeper_ = KeyKeeper::Open(service_.catalog, std::move(keys), folder_ + "/key.generations",
                              service_.clock.Now())
                  .value();
  }
  ~KeysTest() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<v1::RewrapKeysResponse> RewrapAndVerify() {
    v1::RewrapKeysRequest request;
    request.set_verify(true);
    return Rewrap(request);
  }
  absl::StatusOr<v1::RewrapKeysResponse> Rewrap(const v1::RewrapKeysRequest& request) {
    return RewrapKeys(
        service_.stored_places, *keeper_, service_.clock, [this] { return TakeSnapshot(); },
        request);
  }
  absl::StatusOr<v1::RotateKeyResponse> Rotate() {
    return RotateKey(*keeper_, service_.clock, [this] { return TakeSnapshot(); });
  }
  absl::StatusOr<v1::BackUpStateResponse> TakeSnapshot() {
    // By then they are wrapped.
    EXPECT_TRUE(keeper_->IsRewrapped());
    ++snapshots_;
    RETURN_IF_ERROR(snapshot_);
    v1::BackUpStateResponse taken;
    taken.add_paths("/snapshot");
    return taken;
  }

  testing::MemoryService service_;
  std::string folder_;
  std::unique_ptr<KeyKeeper> keeper_;
  int snapshots_ = 0;
  absl::Status snapshot_;  // What taking one ends with.
};

TEST_F(KeysTest, AreListedWithWhatEachHasSealed) {
  service_.uploads.form = storage::StorageForm::kSealed;
  service_.uploads.inline_blob_limit = 0;
  const testing::KnownClient client = service_.MakeClient("laptop");
  service_.Store(client.id, "file", PseudoRandomBytes(100'000));
  service_.Register("without a key");
  auto listed = ListKeys(service_.catalog, *keeper_);
  ASSERT_OK(listed);
  EXPECT_EQ(listed->master_key_fingerprint(),
            crypto::MasterKey(std::string(32, 'n')).Fingerprint());
  ASSERT_EQ(listed->generations_size(), 1);
  EXPECT_EQ(listed->generations(0).number(), 0u);
  EXPECT_TRUE(listed->generations(0).is_newest());
  EXPECT_FALSE(listed->generations(0).is_rewrapped());
  EXPECT_EQ(listed->generations(0).session_key_count(), 1);
  EXPECT_EQ(listed->generations(0).pack_count(), 1);
  EXPECT_THAT(Rotate(), testing::StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_OK(Rewrap({}));
  listed = ListKeys(service_.catalog, *keeper_);
  ASSERT_OK(listed);
  EXPECT_TRUE(listed->generations(0).is_rewrapped());
  const auto rotated = Rotate();
  ASSERT_OK(rotated);
  // Rewrap() has made 1.
  EXPECT_EQ(rotated->newest_generation(), 2u);
  listed = ListKeys(service_.catalog, *keeper_);
  ASSERT_OK(listed);
  ASSERT_EQ(listed->generations_size(), 3);
  EXPECT_FALSE(listed->generations(0).is_newest());
  EXPECT_TRUE(listed->generations(2).is_newest());
  EXPECT_TRUE(listed->generations(2).is_rewrapped());
  EXPECT_EQ(listed->generations(2).pack_count(), 0);
}

TEST_F(KeysTest, AreListedAlsoIfWhichAreToGoCannotBeRead) {
  auto listed = ListKeys(service_.catalog, *keeper_);
  ASSERT_OK(listed);
  EXPECT_FALSE(listed->retirement_is_unreadable());
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.SetStoreValue("key_retirement", "generations=0\nphase=77\n");
  }));
  listed = ListKeys(service_.catalog, *keeper_);
  ASSERT_OK(listed);
  EXPECT_TRUE(listed->retirement_is_unreadable());
  EXPECT_FALSE(listed->has_retirement());
  EXPECT_FALSE(listed->generations(0).is_retiring());
  // Told again, it is known again.
  ASSERT_OK(Rewrap({}));
  v1::RetireKeyRequest request;
  request.set_generation(0);
  ASSERT_OK(RetireKey(service_.catalog, *keeper_, service_.clock, request));
  listed = ListKeys(service_.catalog, *keeper_);
  ASSERT_OK(listed);
  EXPECT_FALSE(listed->retirement_is_unreadable());
  EXPECT_TRUE(listed->has_retirement());
}

TEST_F(KeysTest, OfVersionsOutsidePacksAreOpenedOneByOne) {
  const testing::KnownClient client = service_.MakeClient("laptop");
  const auto check = [&](int64_t version, const crypto::KeyRing& ring) {
    return CheckOwnKey(service_.catalog, service_.blobs, ring, version);
  };
  const crypto::KeyRing& ring = service_.master_key;
  crypto::KeyRing without;
  without.Add(1, std::string(32, 'g'));
  for (const int64_t limit : {0, 64 << 10}) {
    service_.uploads.inline_blob_limit = limit;
    const std::string plain = PseudoRandomBytes(1000);
    const int64_t sealed =
        service_.StoreWhole(client.id, "file", plain, storage::StorageForm::kSealed);
    EXPECT_OK(check(sealed, ring));
    EXPECT_THAT(check(sealed, without), testing::HasReason(Reason::kKeyMissing));
    const int64_t open =
        service_.StoreWhole(client.id, "file", plain, storage::StorageForm::kPlain);
    EXPECT_OK(check(open, without));
    EXPECT_OK(check(service_.Store(client.id, "file", plain), without));
  }
  EXPECT_OK(check(1'000'000, without));
}

TEST_F(KeysTest, AreVerifiedByOpeningSamplesOfEachKind) {
  service_.uploads.form = storage::StorageForm::kSealed;
  service_.uploads.inline_blob_limit = 0;
  const testing::KnownClient client = service_.MakeClient("laptop");
  service_.Store(client.id, "file", PseudoRandomBytes(100'000));
  service_.StoreWhole(client.id, "old", PseudoRandomBytes(1000), storage::StorageForm::kSealed);
  const auto verified = RewrapAndVerify();
  ASSERT_OK(verified);
  EXPECT_EQ(verified->rewrapped_count(), 1);
  EXPECT_EQ(verified->newest_generation(), 1u);
  ASSERT_EQ(verified->samples_size(), 4);
  for (const v1::KeySamples& samples : verified->samples()) {
    EXPECT_EQ(samples.opened_count(), 1) << samples.DebugString();
    EXPECT_EQ(samples.failed_count(), 0) << samples.DebugString();
  }
}

TEST_F(KeysTest, AreNotVerifiedIfSomethingDoesNotOpen) {
  const testing::KnownClient client = service_.MakeClient("laptop");
  storage::Client other = service_.Client(client.id);
  other.id = *ClientId::FromBytes(std::string(16, 'o'));
  other.name = "other";
  // With a key that was sealed for another client.
  ASSERT_OK(service_.catalog.Run(
      [&](storage::Transaction& transaction) { return transaction.AddClient(other); }));
  const auto verified = RewrapAndVerify();
  ASSERT_OK(verified);
  const v1::KeySamples& session_keys = verified->samples(1);
  EXPECT_EQ(session_keys.kind(), v1::KeySamples::SESSION_KEY);
  EXPECT_EQ(session_keys.opened_count(), 1);
  EXPECT_EQ(session_keys.failed_count(), 1);
  EXPECT_THAT(session_keys.first_error(), HasSubstr("sealed"));
}

TEST_F(KeysTest, AreWrappedWithoutBeingVerifiedUnlessThatIsAskedFor) {
  const auto rewrapped = Rewrap({});
  ASSERT_OK(rewrapped);
  EXPECT_EQ(rewrapped->samples_size(), 0);
  EXPECT_TRUE(keeper_->IsRewrapped());
}

TEST_F(KeysTest, HaveASnapshotOfTheStateThatTheNewMasterKeyOpens) {
  snapshot_ = MakeError(Reason::kStorageFull, "no room");
  const auto refused = Rewrap({});
  EXPECT_THAT(refused, testing::HasReason(Reason::kStorageFull));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("keep the old master key"));
  snapshot_ = absl::OkStatus();
  // Also if nothing is left to be wrapped.
  const auto rewrapped = Rewrap({});
  ASSERT_OK(rewrapped);
  EXPECT_EQ(rewrapped->rewrapped_count(), 0);
  EXPECT_THAT(rewrapped->snapshot_paths(), ::testing::ElementsAre("/snapshot"));
  EXPECT_EQ(snapshots_, 2);
}

TEST_F(KeysTest, AreInASnapshotOnceTheyAreMade) {
  ASSERT_OK(Rewrap({}));
  ASSERT_OK(Rotate());
  EXPECT_EQ(snapshots_, 2);
  snapshot_ = MakeError(Reason::kStorageFull, "no room");
  const auto made = Rotate();
  EXPECT_THAT(made, testing::HasReason(Reason::kStorageFull));
  EXPECT_THAT(std::string(made.status().message()), HasSubstr("key generation 3 seals"));
  EXPECT_THAT(keeper_->ring().newest(), ::testing::Optional(3u));
}

TEST_F(KeysTest, AreNotBlamedForVersionsThatAreDamagedOrMissing) {
  service_.uploads.inline_blob_limit = 0;
  const testing::KnownClient client = service_.MakeClient("laptop");
  const auto store = [&](const char* name) {
    const int64_t id = service_.StoreWhole(client.id, name, PseudoRandomBytes(1000),
                                           storage::StorageForm::kSealed);
    return service_.Stored(client.id, name, id);
  };
  store("whole");
  const storage::StoredVersion gone = store("gone");
  ASSERT_OK(service_.memory_blobs.Delete(std::get<BlobId>(gone.content)));
  const storage::StoredVersion marked = store("marked");
  ASSERT_OK(service_.catalog.Run([&](storage::Transaction& transaction) {
    return transaction.MarkVersionDamaged(marked.version.version_id, marked.content).status();
  }));
  const auto verified = RewrapAndVerify();
  ASSERT_OK(verified);
  const v1::KeySamples& versions = verified->samples(3);
  EXPECT_EQ(versions.kind(), v1::KeySamples::VERSION);
  EXPECT_EQ(versions.opened_count(), 1);
  EXPECT_EQ(versions.failed_count(), 0) << versions.first_error();
  EXPECT_EQ(versions.skipped_count(), 2);
}

}  // namespace
}  // namespace backup::handlers
