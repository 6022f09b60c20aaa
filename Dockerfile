# docker build --target service|bridge|backupctl|test . ; deploy/compose.yaml does so.

ARG DEBIAN_RELEASE=bookworm

FROM debian:$DEBIAN_RELEASE-slim AS build
WORKDIR /src
# Apart from the sources, so that a change there does not install everything anew.
COPY .ci/install_packages.sh .ci/
COPY deploy/packages.txt deploy/
RUN .ci/install_packages.sh
COPY . .
# For `backupctl version` and backup_build_info; .git is not among what the images are made from.
ARG BACKUP_COMMIT=unknown
RUN cmake --preset release -DBACKUP_COMMIT=$BACKUP_COMMIT \
 && cmake --build --preset release --target backup-service backup-bridge backupctl legacy-client backup_protoset
# What each image gets below /out/IMAGE, and the packages of the libraries that its programs are linked with. Everywhere
# backupctl comes along: it is the health check.
RUN deploy/stage_image.sh service service backupctl \
 && deploy/stage_image.sh bridge bridge backupctl \
 && deploy/stage_image.sh backupctl backupctl

FROM debian:$DEBIAN_RELEASE-slim AS base
# No name can clash with one of the host: 65532 is what images without root commonly use.
RUN groupadd --gid 65532 backup-service \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin backup-service \
 && install -d -o 65532 -g 65532 -m 0700 /var/lib/backup \
 && install -d -o 65532 -g 65532 -m 0750 /run/backup
# The service's socket: for backupctl, here and in `docker exec`.
ENV BACKUP_SERVICE=unix:/run/backup/service.sock
ARG VERSION=0.1.0
ARG BACKUP_COMMIT=unknown
LABEL org.opencontainers.image.vendor="backup" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$BACKUP_COMMIT

FROM base AS service
LABEL org.opencontainers.image.title="backup-service" \
      org.opencontainers.image.description="Keeps backups and offers them over gRPC"
COPY --from=build /out/service.packages /tmp/
# libcurl4 and ca-certificates, for blobs in an object store.
ARG EXTRA_PACKAGES=
RUN apt-get update && xargs -a /tmp/service.packages apt-get install -y --no-install-recommends $EXTRA_PACKAGES \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /tmp/service.packages
COPY --from=build /out/service /
USER 65532:65532
# The state, and the socket, so that a read-only root file system needs nothing more.
VOLUME ["/var/lib/backup", "/run/backup"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s --retries=3 CMD ["backupctl", "--quiet", "health"]
ENTRYPOINT ["backup-service", "--flagfile=/etc/backup/service.flags"]

FROM base AS bridge
LABEL org.opencontainers.image.title="backup-bridge" \
      org.opencontainers.image.description="Lets clients of the old binary protocol use backup-service"
COPY --from=build /out/bridge.packages /tmp/
RUN apt-get update && xargs -a /tmp/bridge.packages apt-get install -y --no-install-recommends \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /tmp/bridge.packages
COPY --from=build /out/bridge /
USER 65532:65532
EXPOSE 1357
STOPSIGNAL SIGTERM
# Both ends: the service by a call through the bridge's own way to it, and the port. Longer than --ride_through, during
# which an absent service is none of the clients' business.
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s --retries=7 \
  CMD ["bash", "-c", "backupctl --quiet health && exec 3<>/dev/tcp/127.0.0.1/1357"]
ENTRYPOINT ["backup-bridge", "--flagfile=/etc/backup/bridge.flags"]

FROM base AS backupctl
LABEL org.opencontainers.image.title="backupctl" \
      org.opencontainers.image.description="Lists, restores and checks what backup-service keeps"
COPY --from=build /out/backupctl.packages /tmp/
RUN apt-get update && xargs -a /tmp/backupctl.packages apt-get install -y --no-install-recommends \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /tmp/backupctl.packages
COPY --from=build /out/backupctl /
USER 65532:65532
ENTRYPOINT ["backupctl"]

# Last, because the classic builder builds every stage up to the target.
FROM build AS test
RUN cmake --build --preset release --target unit_tests && ctest --preset release -L unit
