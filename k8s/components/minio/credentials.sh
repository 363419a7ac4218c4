#!/usr/bin/env bash
# credentials.sh [NAMESPACE]: makes the credentials of the bundled MinIO, once: minio.env, tenants.env and store.env.
set -euo pipefail
cd "$(dirname "$0")"
namespace=${1:-syntrial}
[ ! -e minio.env ] || { echo "minio.env is there already; MinIO's data belong to it"; exit 1; }
umask 077
key=$(openssl rand -hex 20)
printf 'MINIO_ROOT_USER=syntrial-root\nMINIO_ROOT_PASSWORD=%s\n' "$(openssl rand -hex 20)" >minio.env
printf '%s=%s\n' "$namespace" "$key" >tenants.env
cat >store.env <<ENV
SYNTRIAL_STORE=s3://syntrial/$namespace
SYNTRIAL_S3_ENDPOINT=http://syntrial-minio.$namespace.svc:9000
AWS_ACCESS_KEY_ID=syntrial-$namespace
AWS_SECRET_ACCESS_KEY=$key
ENV
