#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/catalog/catalog.h"
#include "storage/testing/ids.h"

namespace backup::storage {

// What the groups of the contract share. Each helper is a transaction, or a read, of its own.
class CatalogContract : public ::testing::TestWithParam<std::function<std::unique_ptr<Catalog>()>> {
 protected:
  static absl::Time At(int seconds) { return absl::FromUnixSeconds(1'700'000'000 + seconds); }

  template <typename Work>
  auto Run(const Work& work) {
    return catalog_->Run(work);
  }
  template <typename Work>
  auto Read(const Work& work) {
    return catalog_->Read(work);
  }

  // Clients.

  absl::StatusOr<Client> RegisterClient(const std::string& name, uint8_t id, DuplicateNames policy,
                                        absl::Time now) {
    return Run([&](Transaction& transaction) {
      return transaction.RegisterClient(name, IdOf<ClientId>(id), policy, now);
    });
  }
  Client Register(const std::string& name, uint8_t id) {
    return RegisterClient(name, id, DuplicateNames::kReject, At(0)).value();
  }
  absl::StatusOr<Client> SetClientKey(const ClientId& id, const KeyGrant& grant, Rekey policy,
                                      absl::Time now) {
    return Run(
        [&](Transaction& transaction) { return transaction.SetClientKey(id, grant, policy, now); });
  }
  Client RegisterWithKey(const std::string& name, uint8_t id) {
    Register(name, id);
    return SetClientKey(IdOf<ClientId>(id), {"key", "sealed"}, Rekey::kPin, At(1)).value();
  }
  absl::Status TouchClient(const ClientId& id, absl::Time now) {
    return Run([&](Transaction& transaction) { return transaction.TouchClient(id, now); });
  }
  // With all it has, for good.
  static absl::Status RemoveClient(Transaction& transaction, const ClientId& id) {
    RETURN_IF_ERROR(transaction.DeleteClient(id, At(9)));
    return transaction.PurgeClient(id, At(9), std::numeric_limits<int>::max()).status();
  }
  absl::Status RemoveClient(const ClientId& id) {
    return Run([&](Transaction& transaction) { return RemoveClient(transaction, id); });
  }
  absl::StatusOr<Client> FindClient(const ClientId& id) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindClient(id); });
  }
  absl::StatusOr<Client> FindClientByName(const std::string& name) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindClientByName(name); });
  }

  // Versions.

  Version MakeVersion(const ClientId& client, const std::string& file_name,
                      std::optional<UploadId> upload = std::nullopt) {
    Version version;
    version.client_id = client;
    version.file_name = file_name;
    version.version_id =
        Run([](Transaction& transaction) { return transaction.ReserveVersionIds(1); }).value();
    version.size_bytes = 10;
    version.encoded_size = 16;
    version.checksum_kind = ChecksumKind::kCrc32OfCiphertext;
    version.checksum = 0xFEDCBA98;
    version.sha256 = std::string(32, '\xAB');
    version.receive_time = At(2);
    version.form = StorageForm::kSealed;
    version.upload_id = upload;
    return version;
  }
  absl::StatusOr<Version> AddVersion(const Version& version, const NewContent& content,
                                     const LegacyProfile& observed = {}) {
    return Run([&](Transaction& transaction) {
      return transaction.AddVersion(version, content, observed);
    });
  }
  static NewContent Blob(const BlobId& id) { return NewBlob{id, kBlobSize}; }
  // A blob becomes pending first.
  Version Add(const ClientId& client, const std::string& file_name,
              const NewContent& content = std::string("bytes"),
              std::optional<UploadId> upload = std::nullopt) {
    if (const auto* blob = std::get_if<NewBlob>(&content)) {
      EXPECT_OK(AddPending(blob->id));
    }
    return AddVersion(MakeVersion(client, file_name, upload), content).value();
  }
  absl::StatusOr<bool> SettleVersion(const Verdict& verdict) {
    return Run([&](Transaction& transaction) { return transaction.SettleVersion(verdict, At(3)); });
  }
  // Whether it changed anything.
  bool Settle(const ClientId& client, const std::string& file_name, Outcome outcome) {
    return SettleVersion({client, file_name, std::nullopt, outcome}).value();
  }
  // For good.
  absl::Status RemoveVersion(const ClientId& client, const std::string& file_name,
                             int64_t version_id) {
    return Run([&](Transaction& transaction) {
      return transaction.DeleteVersion(client, file_name, version_id, kForGood);
    });
  }
  absl::StatusOr<StoredVersion> FindVersion(const ClientId& client, const std::string& file_name,
                                            int64_t version_id, bool with_content = true) {
    return Read([&](Snapshot& snapshot) {
      return snapshot.FindVersion(client, file_name, version_id, with_content);
    });
  }
  absl::StatusOr<std::optional<Version>> FindUpload(const ClientId& client,
                                                    const UploadId& upload) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindUpload(client, upload); });
  }
  VersionState StateOf(const Version& version) {
    return FindVersion(version.client_id, version.file_name, version.version_id, false)
        .value()
        .version.state;
  }
  absl::StatusOr<std::vector<File>> ListFiles(const ClientId& client, const std::string& after,
                                              int limit) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListFiles(client, after, limit); });
  }
  absl::StatusOr<std::vector<Version>> ListVersions(const ClientId& client,
                                                    const std::string& file_name, int64_t before,
                                                    int limit) {
    return Read([&](Snapshot& snapshot) {
      return snapshot.ListVersions(client, file_name, before, limit);
    });
  }

  // Blobs.

  absl::Status AddPending(const BlobId& id, const OwnerId& owner = IdOf<OwnerId>(1),
                          absl::Time lease_end = At(600)) {
    return Run([&](Transaction& transaction) {
      return transaction.AddPendingBlobs({id}, {owner, lease_end});
    });
  }
  BlobUse UseOf(const BlobId& id) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindBlob(id); }).value();
  }

  // Reports.

  std::optional<absl::Time> LastVerifiedTime(absl::Time now) {
    return Read([&](Snapshot& snapshot) { return snapshot.LastVerifiedTime(now); }).value();
  }
  Counts Count() {
    return Read([](Snapshot& snapshot) { return snapshot.Count(); }).value();
  }

  static inline const Deletion kForGood = {At(9), /*for_good=*/true};
  static constexpr int64_t kBlobSize = 100;
  const std::unique_ptr<Catalog> catalog_ = GetParam()();
  const ClientId nobody_ = IdOf<ClientId>(250);
};

}  // namespace backup::storage
