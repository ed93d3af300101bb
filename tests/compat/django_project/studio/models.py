from __future__ import annotations

import uuid

from django.contrib.auth.models import User
from django.db import models


class Shot(models.Model):
    name = models.CharField(max_length=40)

    def natural_key(self):
        return (self.name,)


class Role(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=40)
    holders = models.ManyToManyField(User, related_name="roles")


class Artist(User):
    class Meta:
        proxy = True
